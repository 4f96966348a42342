"""Runs statements on Parquet files with duckdb: one a line in, one JSON object a line out.

    duckdb_sql.py TABLE=FOLDER ...
"""

import json
import sys
import time

import duckdb

connection = duckdb.connect()
connection.execute("CREATE SCHEMA tpch")
for argument in sys.argv[1:]:
    table, folder = argument.split("=", 1)
    connection.execute(f"CREATE VIEW tpch.{table} AS SELECT * FROM read_parquet('{folder}/*.parquet')")
print(json.dumps({"ready": duckdb.__version__}), flush=True)
for statement in sys.stdin:
    started = time.perf_counter()
    try:
        rows = connection.execute(statement).to_arrow_table().num_rows
    except duckdb.Error as error:
        print(json.dumps({"error": str(error)[:300]}), flush=True)
        continue
    print(json.dumps({"ms": (time.perf_counter() - started) * 1e3, "rows": rows}), flush=True)
