"""Runs statements on Parquet files with a roapi server over HTTP, answered as an Arrow stream: one a line in, one
JSON object a line out.

    roapi_sql.py memory|files TABLE=FOLDER ...

Its default is to load every table into memory at start; with `files` it reads the files, as the others do.
"""

import json
import pathlib
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pyarrow.ipc


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


port = free_port()
words = [str(pathlib.Path(sys.executable).with_name("roapi")), "--addr-http", f"127.0.0.1:{port}"]
words += ["--addr-postgres", f"127.0.0.1:{free_port()}", "--addr-flight-sql", f"127.0.0.1:{free_port()}"]
in_memory = "true" if sys.argv[1] == "memory" else "false"
for argument in sys.argv[2:]:
    table, folder = argument.split("=", 1)
    words += ["--table", f"{table}={folder}/,format=parquet,use_memory_table={in_memory}"]
server = subprocess.Popen(words, stdout=sys.stderr, stderr=sys.stderr)
url = f"http://127.0.0.1:{port}/api/sql"


def ask(statement):
    # It knows its tables without a schema.
    body = statement.replace("tpch.", "").encode()
    headers = {"Accept": "application/vnd.apache.arrow.stream"}
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=600) as answer:
        return pyarrow.ipc.open_stream(answer).read_all().num_rows


try:
    deadline = time.monotonic() + 120
    while True:
        try:
            ask("SELECT 1")
            break
        except (urllib.error.URLError, ConnectionError):
            if server.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.1)
    print(json.dumps({"ready": "roapi"}), flush=True)
    for statement in sys.stdin:
        started = time.perf_counter()
        try:
            rows = ask(statement)
        except urllib.error.HTTPError as error:
            print(json.dumps({"error": error.read(300).decode(errors="replace")}), flush=True)
            continue
        print(json.dumps({"ms": (time.perf_counter() - started) * 1e3, "rows": rows}), flush=True)
finally:
    server.terminate()
    server.wait()
