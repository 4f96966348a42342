"""Starts a peer that serves Parquet files over Flight SQL, says where, and ends it when its standard input ends.

    flight_server.py roapi|sail TABLE=FOLDER ...

Both read the files for each statement: nothing is loaded first.
"""

import json
import pathlib
import socket
import subprocess
import sys
import time


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def program(name):
    return str(pathlib.Path(sys.executable).with_name(name))


peer = sys.argv[1]
tables = [argument.split("=", 1) for argument in sys.argv[2:]]
port = free_port()
if peer == "roapi":
    words = [program("roapi"), "--addr-http", f"127.0.0.1:{free_port()}", "--addr-postgres", f"127.0.0.1:{free_port()}"]
    words += ["--addr-flight-sql", f"127.0.0.1:{port}"]
    for table, folder in tables:
        words += ["--table", f"{table}={folder}/,format=parquet,use_memory_table=false"]
else:
    words = [program("sail"), "flight", "server", "--ip", "127.0.0.1", "--port", str(port)]
server = subprocess.Popen(words, stdout=sys.stderr, stderr=sys.stderr)
try:
    deadline = time.monotonic() + 120
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.1)
    # What makes its tables: it has no flag for them.
    setup = []
    if peer == "sail":
        setup = ["CREATE DATABASE IF NOT EXISTS tpch"]
        setup += [f"CREATE TABLE tpch.{table} USING parquet LOCATION '{folder}'" for table, folder in tables]
    print(json.dumps({"address": f"grpc://127.0.0.1:{port}", "pid": server.pid, "setup": setup}), flush=True)
    sys.stdin.read()
finally:
    server.terminate()
    server.wait()
