#!/usr/bin/env python3
"""Writes the demo data from the npm package vega-datasets.

    python3 testdata/make.py                     # fetches the package with `npm pack`
    python3 testdata/make.py --package FILE.tgz  # uses a copy that is already here
    python3 testdata/make.py --check             # writes nothing; fails when a file here differs

Same package, same bytes: rows keep the package's order, keys have a fixed order, numbers that
measure something are always written with a decimal point, text is UTF-8. Python's standard library
is all it needs.
"""

import argparse
import csv
import datetime
import hashlib
import io
import json
import pathlib
import subprocess
import sys
import tarfile
import tempfile

VERSION = "3.2.1"
HERE = pathlib.Path(__file__).resolve().parent

# What the package must hold; anything else is another package, and its data is not what we document.
INPUTS = {
    "earthquakes.json": "a42702a83ffbae679f95d1fa53e2cae0bae13b21e599a68cdd50a44fc52129f7",
    "airports.csv": "903c7169e6d558eefb95295fe2947ec8503135fbb855ea5c737cf4a90ea603ad",
    "flights-20k.json": "52f0ddd892d4569284b845e17323abc9afb7d303ec8f63251634a20327a610bb",
}


def fetch(folder):
    """Downloads the package into `folder` and returns the file."""
    answer = subprocess.run(
        ["npm", "pack", "--silent", f"vega-datasets@{VERSION}"],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    return pathlib.Path(folder) / answer.stdout.strip().splitlines()[-1]


def read_inputs(package):
    """The files named in INPUTS, each checked against its digest."""
    found = {}
    with tarfile.open(package) as archive:
        for name, expected in INPUTS.items():
            data = archive.extractfile(f"package/data/{name}").read()
            digest = hashlib.sha256(data).hexdigest()
            if digest != expected:
                sys.exit(f"{name} has sha256 {digest}, expected {expected}: is this vega-datasets {VERSION}?")
            found[name] = data
    return found


def number(value):
    """A measured number as a float, so that 2 and 2.5 have one type; None stays None."""
    return None if value is None else float(value)


def earthquakes(data):
    """GeoJSON features of the USGS feed; `time` is milliseconds since 1970 in UTC."""
    for feature in json.loads(data)["features"]:
        properties = feature["properties"]
        longitude, latitude, depth = feature["geometry"]["coordinates"]
        moment = datetime.datetime.fromtimestamp(0, datetime.timezone.utc)
        moment += datetime.timedelta(milliseconds=properties["time"])
        yield {
            "id": feature["id"],
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "mag": number(properties["mag"]),
            "mag_type": properties["magType"],
            "place": properties["place"],
            "depth_km": number(depth),
            "longitude": number(longitude),
            "latitude": number(latitude),
        }


def airports(data):
    """The CSV writes `NA` where city or state is not known: that is null here."""
    for row in csv.DictReader(io.StringIO(data.decode("utf-8"))):
        for column in ("city", "state"):
            row[column] = None if row[column] == "NA" else row[column]
        for column in ("latitude", "longitude"):
            row[column] = number(row[column])
        yield row


def flights(data):
    """`date` is the local time of departure, `2001/01/14 21:55`, and stays without a zone."""
    for row in json.loads(data):
        moment = datetime.datetime.strptime(row["date"], "%Y/%m/%d %H:%M")
        yield {
            "date": moment.isoformat(),
            "delay": row["delay"],
            "distance": row["distance"],
            "origin": row["origin"],
            "destination": row["destination"],
        }


def ndjson(rows):
    return "".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in rows).encode("utf-8")


def outputs(inputs):
    """File name to bytes, for every file that this program writes."""
    return {
        "earthquakes.ndjson": ndjson(earthquakes(inputs["earthquakes.json"])),
        "airports.ndjson": ndjson(airports(inputs["airports.csv"])),
        "flights.ndjson": ndjson(flights(inputs["flights-20k.json"])),
    }


def main():
    parser = argparse.ArgumentParser(description="Write the demo data from vega-datasets.")
    parser.add_argument("--package", type=pathlib.Path, help="a vega-datasets-%s.tgz" % VERSION)
    parser.add_argument("--check", action="store_true", help="compare with the files here instead of writing them")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        inputs = read_inputs(arguments.package or fetch(folder))
    different = []
    for name, data in outputs(inputs).items():
        path = HERE / name
        if not arguments.check:
            path.write_bytes(data)
        elif not path.exists() or path.read_bytes() != data:
            different.append(name)
        print(f"{hashlib.sha256(data).hexdigest()}  {name}")
    if different:
        sys.exit("not as committed: " + ", ".join(different))


if __name__ == "__main__":
    main()
