"""One statement on one Delta table with delta-rs's own scan, in a process of its own: time and bytes read.

    delta_scan.py FOLDER SQL
"""

import json
import sys
import time

from deltalake import DeltaTable, QueryBuilder


def read_bytes():
    with open("/proc/self/io", encoding="ascii") as counters:
        return next(int(line.split()[1]) for line in counters if line.startswith("rchar"))


before, started = read_bytes(), time.perf_counter()
table = DeltaTable(sys.argv[1])
rows = sum(batch.num_rows for batch in QueryBuilder().register("t", table).execute(sys.argv[2]))
print(json.dumps({"ms": (time.perf_counter() - started) * 1e3, "bytes": read_bytes() - before, "rows": rows}))
