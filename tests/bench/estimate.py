#!/usr/bin/env python3
"""Estimates the time that sweeps on DynamoDB take to execute the cancellations due at one instant, by the arithmetic of `tests/README.md`.

A simulation, second by second. Sweeps begin each minute with a random one of the index's 16 partitions, work on four at a
time, and stop 8 seconds before their timeout. A partition takes 1,000 writes a second. Of two sweeps that meet in a
partition, only the faster one counts.
"""

import random
import statistics

PARTITIONS, AT_A_TIME, PARTITION_LIMIT, MARGIN = 16, 4, 1_000, 8
# An execution takes 0.35 ms of processor time: what was measured, and a margin. Lambda gives a whole processor with 1,769 MB,
# and less in proportion to memory.
PER_SECOND_OF_A_PROCESSOR, MEMORY_OF_A_PROCESSOR = 2_850, 1_769
GIVE_UP, RUNS = 7_200, 20


def seconds(due, memory, timeout, schedules, rng):
    per_second = PER_SECOND_OF_A_PROCESSOR * memory / MEMORY_OF_A_PROCESSOR
    left = [due / PARTITIONS] * PARTITIONS
    sweeps = []
    for second in range(GIVE_UP):
        if not any(left):
            return second
        if second % 60 == 0:
            sweeps += [(second, rng.randrange(PARTITIONS)) for _ in range(schedules)]
        sweeps = [sweep for sweep in sweeps if second - sweep[0] < timeout - MARGIN]
        rate = [0] * PARTITIONS
        for _, first in sweeps:
            order = [(first + next_) % PARTITIONS for next_ in range(PARTITIONS)]
            worked_on = [partition for partition in order if left[partition]][:AT_A_TIME]
            for partition in worked_on:
                rate[partition] = max(rate[partition], min(PARTITION_LIMIT, per_second / len(worked_on)))
        left = [max(0, rest - done) for rest, done in zip(left, rate)]
    return GIVE_UP


def minutes(due, memory, timeout, schedules):
    rng = random.Random(1)
    runs = [seconds(due, memory, timeout, schedules, rng) for _ in range(RUNS)]
    if max(runs) == GIVE_UP:
        return f"more than {GIVE_UP // 60}"
    median, worst = (max(1, round(run / 60)) for run in (statistics.median(runs), max(runs)))
    return f"{median}" if median == worst else f"{median}, at worst {worst}"


print("| `SweepMemorySize` | `Timeout` | schedules | 100,000 due: minutes | 1,000,000 due | 10,000,000 due |\n|---|---|---|---|---|---|")
for memory, timeout, schedules in [
    (256, 60, 1), (512, 60, 1), (1_024, 60, 1), (1_769, 60, 1), (1_769, 900, 1), (1_769, 900, 8)
]:
    estimates = [minutes(due, memory, timeout, schedules) for due in (100_000, 1_000_000, 10_000_000)]
    print(f"| {memory} | {timeout} | {schedules} | {' | '.join(estimates)} |")
