"""What a schema cannot say, told to schemathesis.

A schema says that a statement is text; which text is SQL it cannot say. So the parts of a request that are well formed
get values here that also mean something: ids that exist, columns of the dataset, rows that fit. What was made to be
wrong is left as it is. Nothing that others need is deleted: each deletion gets a thing of its own.
"""

import atexit
import io
import itertools
import json
import os
import time
from collections import Counter, defaultdict

import pyarrow
import pyarrow.parquet
import requests
import schemathesis
from schemathesis.core.parameters import ParameterLocation as In
from schemathesis.generation.meta import TestPhase

SEED = json.load(open(os.environ["LAKEGATE_SEED"], encoding="utf-8"))
AUTH = {"Authorization": "Bearer " + os.environ["LAKEGATE_TOKEN"]}
NUMBERS = itertools.count()
SESSION = requests.Session()


def new_name():
    return f"made_{next(NUMBERS)}"


def turns(*values):
    """One after the other, and again: the same run makes the same requests."""
    cycle = itertools.cycle(values)
    return lambda: next(cycle)


def call(case, method, path, **how):
    answer = SESSION.request(method, case.operation.base_url.rstrip("/") + path, headers=AUTH, timeout=60, **how)
    answer.raise_for_status()
    return answer.json()


# ---- values that mean something

STATEMENTS = turns(
    ("SELECT iata, city FROM demo.airports WHERE state = $1 ORDER BY iata", ["RI"]),
    ("SELECT count(*) AS n, avg(delay) AS late FROM demo.flights", None),
    ("SELECT * FROM demo.earthquakes WHERE mag > $least", {"least": 5}),
    ("VALUES (1, 'one', NULL), (2, 'two', 1.5)", None),
    ("SELECT 1 AS a, 2 AS a, NULL AS b, 1e300 AS c, 9007199254740993 AS d, 'é' AS \"_\"", None),
    ("EXPLAIN SELECT 1", None),
    ("SHOW TABLES", None),
    ("SELECT * FROM demo.airports LIMIT 0", None),
    ("SELECT version, operation FROM demo.airports$versions", None),
    ("SELECT table_schema, table_name FROM information_schema.tables", None),
)
TYPES = turns(
    "boolean", "smallint", "INT", " bigint ", "real", "double", "decimal(38, 9)", "string", "binary", "date", "timestamp",
    "timestamp_ntz", "list<string>", "struct<a: int, \"b\": list<double>>", "map<string,bigint>",
)
TIMEOUTS = turns("30s", "5m", "1h", "60000ms", "007m")
AS_OF = turns(None, "2199-01-31T00:00:00Z", "2199-01-31")


def rows(media_type, n):
    """A body of the columns that `SEED["target"]` has."""
    if media_type == "application/json":
        return [{"n": n, "text": "ä", "tags": ["a", None]}, {"n": None}]
    if media_type == "application/x-ndjson":
        return f'{{"n":{n}}}\n{{"n":{n},"text":"b"}}\n'
    if media_type == "text/csv":
        return f'n,text\n{n},"a ""b"""\n,\n'
    table = pyarrow.table({"n": pyarrow.array([n, None], pyarrow.int64()), "text": ["a", "b"]})
    out = io.BytesIO()
    if media_type.endswith("parquet"):
        pyarrow.parquet.write_table(table, out)
    else:
        new = pyarrow.ipc.new_stream if media_type.endswith("stream") else pyarrow.ipc.new_file
        with new(out, table.schema) as writer:
            writer.write_table(table)
    return out.getvalue()


@schemathesis.serializer("application/x-ndjson", "text/csv")
def as_text(ctx, value):
    """What was made to be no text is sent as bytes that are none."""
    return value.encode() if isinstance(value, str) else b"\xff" + json.dumps(value, default=str).encode()


@schemathesis.serializer(
    "application/vnd.apache.arrow.stream", "application/vnd.apache.arrow.file", "application/vnd.apache.parquet"
)
def as_bytes(ctx, value):
    """Any bytes are good to the schema, and only those of a format to the gateway."""
    return rows(ctx.case.media_type, 1) if isinstance(value, str) else json.dumps(value, default=str).encode()


# ---- things to delete


def new_dataset(case):
    name = new_name()
    call(case, "POST", "/v1/datasets", json={"name": f"fuzz.{name}", "schema": [{"name": "n", "type": "bigint"}]})
    return {"ns": "fuzz", "name": name}


def patched_dataset(case):
    """One takes many new columns; a thousand are too many."""
    if next(PATCHES) % 16 == 0:
        PATCHED.update(new_dataset(case))
    return PATCHED


def a_principal(case):
    return call(case, "POST", "/v1/principals", json={"name": new_name()})


def a_token(case):
    return {"id": call(case, "POST", "/v1/tokens", json={"name": "to be revoked"})["id"]}


def a_grant(case):
    who = a_principal(case)["name"]
    call(case, "PUT", "/v1/grants", json={"principal": who, "role": "reader", "namespace": "demo"})
    return {"principal": who, "namespace": "demo"}


def a_query(case):
    return {"id": call(case, "POST", "/v1/query", json={"sql": "SELECT 1"})["query_id"]}


def a_job(case):
    """One that is done, so that there is a result to fetch; whoever cancels it leaves it as it is."""
    if not JOB:
        made = call(case, "POST", "/v1/jobs", json={"kind": "query", "sql": "SELECT 1 AS one"})
        while call(case, "GET", f"/v1/jobs/{made['id']}")["state"] in ("waiting", "running"):
            time.sleep(0.02)
        JOB["id"] = made["id"]
    return JOB


def a_group(case):
    return {"name": call(case, "POST", "/v1/groups", json={"name": new_name()})["name"]}


def a_member(case):
    group = a_group(case)
    path = f"/v1/groups/{group['name']}/members/{SEED['service']}"
    answer = SESSION.put(case.operation.base_url.rstrip("/") + path, headers=AUTH, timeout=60)
    answer.raise_for_status()
    return group | {"principal": SEED["service"]}


def a_namespace(case):
    return {"name": call(case, "POST", "/v1/namespaces", json={"name": new_name()})["name"]}


PATCHES = itertools.count()
PATCHED = {}
JOB = {}
PATHS = {
    "DELETE /v1/groups/{name}": a_group,
    "GET /v1/groups/{name}/members": a_group,
    "PUT /v1/groups/{name}/members/{principal}": a_member,
    "DELETE /v1/groups/{name}/members/{principal}": a_member,
    "DELETE /v1/namespaces/{name}": a_namespace,
    "PUT /v1/principals/{name}/password": lambda case: {"name": a_principal(case)["name"]},
    "DELETE /v1/principals/{name}/password": lambda case: {"name": a_principal(case)["name"]},
    "DELETE /v1/datasets/{ns}/{name}": new_dataset,
    "DELETE /v1/datasets/{ns}/{name}/policy": new_dataset,
    "PATCH /v1/datasets/{ns}/{name}": patched_dataset,
    "DELETE /v1/principals/{name}": lambda case: {"name": a_principal(case)["name"]},
    "DELETE /v1/tokens/{id}": a_token,
    "DELETE /v1/queries/{id}": a_query,
    "GET /v1/queries/{id}": a_query,
    "GET /v1/jobs/{id}": a_job,
    "DELETE /v1/jobs/{id}": a_job,
    "GET /v1/jobs/{id}/log": a_job,
    "GET /v1/jobs/{id}/events": a_job,
    "GET /v1/jobs/{id}/result": a_job,
    "GET /v1/receipts/{receipt}": lambda case: {"receipt": next(RECEIPTS)},
}
RECEIPTS = itertools.cycle(SEED["receipts"])
TARGETS = turns("airports", "flights", "earthquakes")


def path(case):
    made = PATHS.get(case.operation.label)
    if made:
        return made(case)
    if case.operation.path.endswith("/ingest") or case.operation.path.endswith(("/compact", "/vacuum")):
        return SEED["target"]
    return {"ns": "demo", "name": TARGETS()}


# ---- the parts of a request


def query(case, asked):
    label = case.operation.label
    if "sql" in asked:
        asked["sql"], params = STATEMENTS()
        asked.pop("params", None)
        if params is not None:
            asked["params"] = json.dumps(params)
    if "timeout" in asked:
        asked["timeout"] = TIMEOUTS()
    if "as_of" in asked:
        asked["as_of"] = AS_OF() or "{}"
    if "columns" in asked:
        there = {"airports": "iata,city", "flights": "delay", "earthquakes": "mag, place", "target": "n"}
        if case.path_parameters.get("name") in there:
            asked["columns"] = there[case.path_parameters["name"]]
        else:
            del asked["columns"]
    if label == "DELETE /v1/grants":
        asked.clear()
        asked.update(a_grant(case))
    elif label == "GET /v1/grants":
        # One of them, or none for the instance.
        there = {"principal": SEED["service"], "namespace": "demo", "dataset": "demo.airports"}
        for name in list(asked)[1:]:
            del asked[name]
        asked.update({name: there[name] for name in asked if name in there})
    elif label == "GET /v1/jobs" and "dataset" in asked:
        asked["dataset"] = f"demo.{TARGETS()}"
    elif label == "GET /v1/tokens" and "principal" in asked:
        asked["principal"] = SEED["service"]
    elif label.endswith("/ingest"):
        # The body is in the format of its media type.
        asked.pop("format", None)


def body(case, sent):
    label = case.operation.label
    if label.endswith("/ingest"):
        if case.media_type and "apache" not in case.media_type:
            case.body = rows(case.media_type, len(COUNTS[label]))
        return
    if not isinstance(sent, dict):
        return
    if label == "PUT /v1/datasets/{ns}/{name}/policy":
        # Columns are those of the dataset, expressions are SQL.
        case.body = {"row_filter": "1 = 1 OR is_member('staff')"}
        return
    if "sql" in sent:
        sent["sql"], sent["params"] = STATEMENTS()
    if sent.get("timeout"):
        sent["timeout"] = TIMEOUTS()
    if sent.get("as_of"):
        sent["as_of"] = AS_OF()
    if "add_columns" in sent:
        # A thousand may be added, where so many have room.
        del sent["add_columns"][9:]
        columns(sent["add_columns"])
    if "schema" in sent:
        columns(sent["schema"])
        sent["name"] = f"fuzz.{new_name()}"
        there = [column["name"] for column in sent["schema"]]
        if "primary_key" in sent:
            sent["primary_key"] = there[:1]
        if sent.get("event_time"):
            sent["event_time"] = there[-1]
    if label in ("POST /v1/principals", "POST /v1/groups"):
        sent["name"] = f"{sent['name'][:40]}.{new_name()}"
        if sent.get("external"):
            sent["external"] = {"issuer": "https://id.example", "subject": new_name()}
    elif label == "POST /v1/namespaces":
        sent["name"] = new_name()
    elif label == "POST /v1/login":
        sent["name"], sent["password"] = SEED["login"]
    elif label == "PUT /v1/principals/{name}/password":
        sent.pop("current", None)
    elif label == "PUT /v1/grants":
        sent["principal"] = SEED["service"]
        sent.pop("group", None)
        sent.pop("public", None)
        if sent.get("dataset"):
            sent["dataset"] = "demo.airports"
            # On one thing, or on the instance.
            sent.pop("namespace", None)
    elif label == "POST /v1/tokens" and sent.get("principal"):
        sent["principal"] = SEED["service"]
    case.body = sent


def columns(made):
    """Types are a language too, and names differ in more than case."""
    for at, column in enumerate(made):
        column["type"] = TYPES()
        column["name"] = f"{column['name'][:60]}{at}"


def headers(case, sent):
    sent.pop("Content-Encoding", None)
    if "Idempotency-Key" in sent:
        # A key is for one body.
        sent["Idempotency-Key"] = f"{sent['Idempotency-Key'][:200]}{new_name()}"


# ---- around every request

NOBODY = {"principal": "nobody", "name": "nobody", "id": "00000000-0000-0000-0000-000000000000"}
NEEDED = {("principal", SEED["owner"]), ("name", SEED["owner"]), ("id", SEED["owner_token"])}
KEPT = {("name", name) for name in (SEED["service"], SEED["target"]["name"], "airports", "flights", "earthquakes")}


def protect(case):
    """Whatever made the request: the run's own principal and token stay, and what others read is not deleted."""
    needed = NEEDED | KEPT if case.method == "DELETE" else NEEDED
    for place in (case.path_parameters, case.query, case.body) if case.method != "GET" else ():
        for key, value in list(place.items()) if isinstance(place, dict) else ():
            if isinstance(value, str) and (key, value) in needed:
                place[key] = NOBODY[key]


@schemathesis.hook
def before_call(context, case, kwargs):
    meta = case.meta
    if meta is not None:
        bad = {place for place, component in meta.components.items() if component.mode.is_negative}
        # Links between operations have ids of their own; rows are those of one dataset.
        linked = meta.phase.name == TestPhase.STATEFUL and not case.operation.path.endswith("/ingest")
        if In.PATH not in bad and case.path_parameters and not linked:
            case.path_parameters.update(path(case))
        if case.operation.label == "DELETE /v1/grants":
            # One of three says whose grant it is; a schema of parameters cannot say so.
            case.query = case.query or {"principal": "ada"}
        if In.QUERY not in bad and case.query:
            query(case, case.query)
        if In.HEADER not in bad and case.headers:
            headers(case, case.headers)
        if In.BODY not in bad and (case.operation.label.endswith("/policy") or not documented(case)):
            body(case, case.body)
    if case.operation.label in ENDLESS and waits(case.query or {}):
        case.query = {**(case.query or {}), "wait": 0}
    protect(case)


ENDLESS = {"GET /v1/events", "GET /v1/jobs/{id}/events"}


def waits(asked):
    """Whether the answer would not end, or not soon."""
    sent = asked.get("wait")
    sent = sent[0] if isinstance(sent, list) and sent else sent
    try:
        return sent is None or 0 < int(str(sent).strip()) <= 86_400
    except ValueError:
        return False


def documented(case):
    """The examples of the document are good as they are."""
    schemas = case.operation.schema.raw_schema["components"]["schemas"].values()
    return any(isinstance(case.body, dict) and schema.get("example") == case.body for schema in schemas)


COUNTS = defaultdict(Counter)


@schemathesis.hook
def after_call(context, case, response):
    COUNTS[case.operation.label][str(response.status_code)] += 1


@atexit.register
def tell():
    with open(os.environ["LAKEGATE_COUNTS"], "w", encoding="utf-8") as out:
        json.dump(COUNTS, out, indent=1)


@schemathesis.check
def rows_are_what_they_say(ctx, response, case):
    """Formats that have no schema can be read by the libraries of others."""
    if response.status_code != 200:
        return
    media_type = response.headers.get("content-type", [""])[0].split(";")[0]
    if media_type.endswith("arrow.stream"):
        pyarrow.ipc.open_stream(response.content).read_all()
    elif media_type.endswith("arrow.file"):
        pyarrow.ipc.open_file(response.content).read_all()
    elif media_type.endswith("parquet"):
        pyarrow.parquet.read_table(io.BytesIO(response.content))
    elif media_type == "application/x-ndjson":
        for line in response.text.splitlines():
            assert isinstance(json.loads(line), dict), line


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Without a token one is a caller too, anonymous: what it may not do is 403, and what it may not see is 404 as
    if it were not there. 401 is for a token that is not good."""
    kind = type(failure).__name__
    if kind == "IgnoredAuth":
        return "got `404" not in failure.message
    if kind == "MissingHeaderNotRejected" and failure.header_name == "Authorization":
        return failure.status_code not in (403, 404)
    return True
