//! Rows go round: out in every format, in again as they are, also through clients of others.

use std::process::Output;

use lakegate_e2e::client::dataset_path;
use lakegate_e2e::{Answer, Gateway, Result, environment};
use reqwest::Method;
use serde_json::{Value, json};

const MEDIA_TYPES: [(&str, &str); 6] = [
    ("json", "application/json"),
    ("ndjson", "application/x-ndjson"),
    ("csv", "text/csv"),
    ("arrow", "application/vnd.apache.arrow.stream"),
    ("arrow-file", "application/vnd.apache.arrow.file"),
    ("parquet", "application/vnd.apache.parquet"),
];

/// A row of each kind of value that a format may trip over, and one of nulls.
const SCHEMA: &str = r#"[
    {"name":"id","type":"bigint"},{"name":"small","type":"smallint"},{"name":"price","type":"decimal(20,4)"},
    {"name":"ratio","type":"double"},{"name":"single","type":"real"},{"name":"flag","type":"boolean"},
    {"name":"name","type":"string"},{"name":"bytes","type":"binary"},{"name":"day","type":"date"},
    {"name":"at","type":"timestamp"},{"name":"clock","type":"timestamp_ntz"},{"name":"tags","type":"list<string>"},
    {"name":"place","type":"struct<lat: double, names: list<string>>"},{"name":"pairs","type":"map<string,bigint>"}]"#;

const ROWS: &str = r#"[
    {"id":"9007199254740993","small":-1,"price":"1234567890123456.7891","ratio":"NaN","single":1.5,"flag":true,
     "name":"a \"b\",\r\n é","bytes":"AP8=","day":"2024-02-29","at":"2024-02-29T12:00:00.000001Z",
     "clock":"2024-02-29T12:00:00","tags":["x",null,""],"place":{"lat":-0.5,"names":[]},"pairs":[["k",1],["l",null]]},
    {"id":2,"small":2,"price":"-0.0001","ratio":"-Infinity","single":"Infinity","flag":false,"name":"","bytes":"",
     "day":"1969-12-31","at":"1969-12-31T23:59:59.999999Z","clock":"1969-12-31T23:59:59","tags":[],
     "place":{"lat":null,"names":null},"pairs":[]},
    {"id":3}]"#;

/// `lab.all` with a column of each type, whose rows are in the order of `id`.
async fn every_type() -> Result<Gateway> {
    let gateway = Gateway::start().await?;
    let body = json!({ "name": "lab.all", "visibility": "public", "schema": serde_json::from_str::<Value>(SCHEMA)? });
    gateway.client().post("/v1/datasets", &body).await?.expect(201)?;
    Answer::of(gateway.client().push_request("lab.all", "application/json", ROWS)).await?.expect(200)?;
    Ok(gateway)
}

async fn rows_of(gateway: &Gateway, dataset: &str) -> Result<Vec<Value>> {
    gateway.client().rows(&format!("SELECT * FROM {dataset} ORDER BY id")).await
}

async fn answer_in(gateway: &Gateway, format: &str, sql: &str) -> Result<Answer> {
    let path = format!("/v1/query?format={format}");
    Answer::of(gateway.client().request(Method::POST, &path).json(&json!({ "sql": sql }))).await
}

#[tokio::test]
async fn what_is_answered_in_a_format_is_pushed_in_it_again() -> Result {
    let gateway = every_type().await?;
    let expected = rows_of(&gateway, "lab.all").await?;
    for (format, media_type) in MEDIA_TYPES {
        let answer = answer_in(&gateway, format, "SELECT * FROM lab.all ORDER BY id").await?.expect(200)?;
        assert!(answer.header("content-type").starts_with(media_type), "{format}");
        let body = if format == "json" { answer.json()?["rows"].to_string().into() } else { answer.body };
        let dataset = format!("lab.again_{}", format.replace('-', "_"));
        let schema = json!({ "name": dataset, "schema": serde_json::from_str::<Value>(SCHEMA)? });
        gateway.client().post("/v1/datasets", &schema).await?.expect(201)?;
        Answer::of(gateway.client().push_request(&dataset, media_type, body)).await?.expect(200)?;
        assert_eq!(rows_of(&gateway, &dataset).await?, expected, "{format}");
    }
    Ok(())
}

#[tokio::test]
async fn text_says_that_it_is_in_utf8() -> Result {
    let gateway = Gateway::start().await?;
    for (format, content_type) in [
        ("csv", "text/csv; charset=utf-8"),
        ("ndjson", "application/x-ndjson; charset=utf-8"),
        ("json", "application/json"),
        ("arrow", "application/vnd.apache.arrow.stream"),
    ] {
        let answer = answer_in(&gateway, format, "SELECT 'é' AS name").await?.expect(200)?;
        assert_eq!(answer.header("content-type"), content_type);
    }
    Ok(())
}

#[tokio::test]
async fn a_push_that_creates_its_dataset_brings_its_types() -> Result {
    let gateway = every_type().await?;
    let columns = gateway.client().get("/v1/datasets/lab/all").await?.expect(200)?.json()?["schema"].clone();
    for (format, media_type) in &MEDIA_TYPES[3..] {
        let body = answer_in(&gateway, format, "SELECT *, NULL AS gone FROM lab.all").await?.expect(200)?.body;
        let path = format!("{}/ingest?create=true", dataset_path("lab.created"));
        let request = gateway.client().request(Method::POST, &path).header("content-type", *media_type);
        let pushed = Answer::of(request.body(body)).await?.expect(200)?.json()?;
        assert_eq!(pushed["rows"], 3, "{format}");
        let created = gateway.client().get("/v1/datasets/lab/created").await?.expect(200)?.json()?;
        assert_eq!(created["schema"], columns, "{format}");
        gateway.client().delete("/v1/datasets/lab/created").await?.expect(204)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_refused_first_push_leaves_no_dataset() -> Result {
    let gateway = every_type().await?;
    let half = answer_in(&gateway, "parquet", "SELECT * FROM lab.all").await?.expect(200)?.body;
    let half = half.slice(..half.len() / 2);
    for media_type in ["application/vnd.apache.parquet", "application/vnd.apache.arrow.stream"] {
        let path = format!("{}/ingest?create=true", dataset_path("lab.created"));
        let request = gateway.client().request(Method::POST, &path).header("content-type", media_type);
        Answer::of(request.body(half.clone())).await?.expect(400)?;
        gateway.client().get("/v1/datasets/lab/created").await?.expect(404)?;
    }
    Ok(())
}

#[tokio::test]
async fn zstd_is_unpacked_in_every_format() -> Result {
    let gateway = every_type().await?;
    for (format, media_type) in &MEDIA_TYPES[1..] {
        let body = answer_in(&gateway, format, "SELECT 7 AS id, 'x' AS name").await?.expect(200)?.body;
        let packed = zstd::encode_all(&body[..], 3)?;
        let request = gateway.client().push_request("lab.all", media_type, packed);
        Answer::of(request.header("content-encoding", "zstd")).await?.expect(200)?;
    }
    assert_eq!(gateway.client().count("lab.all").await?, 8);
    Ok(())
}

#[tokio::test]
async fn a_key_holds_for_parquet_and_arrow_as_well() -> Result {
    let gateway = every_type().await?;
    for (format, media_type) in &MEDIA_TYPES[3..] {
        let body = answer_in(&gateway, format, "SELECT 7 AS id").await?.expect(200)?.body;
        for status in ["committed", "duplicate"] {
            let request = gateway.client().push_request("lab.all", media_type, body.clone());
            let answer = Answer::of(request.header("idempotency-key", *format)).await?.expect(200)?.json()?;
            assert_eq!(answer["status"], status, "{format}");
        }
    }
    assert_eq!(gateway.client().count("lab.all").await?, 6);
    Ok(())
}

/// A query that fails after rows have gone out: nobody may take what came for the whole.
#[tokio::test]
async fn a_binary_answer_that_fails_breaks_off() -> Result {
    let gateway = Gateway::demo().await?;
    let sql = "SELECT a.delay, 1 / (row_number() OVER () - 300000) AS x \
               FROM demo.flights a CROSS JOIN (SELECT delay FROM demo.flights LIMIT 30) b";
    for format in ["arrow", "arrow-file", "parquet"] {
        let path = format!("/v1/query?format={format}");
        let response = gateway.client().request(Method::POST, &path).json(&json!({ "sql": sql })).send().await?;
        assert_eq!(response.status(), 200, "{format}");
        assert!(response.bytes().await.is_err(), "{format} has an end");
    }
    Ok(())
}

async fn python(gateway: &Gateway, script: &str) -> Result<Output> {
    let python = environment("LAKEGATE_PYTHON", "an interpreter with tests/requirements.txt installed")?;
    let mut command = tokio::process::Command::new(python);
    Ok(command.arg("-c").arg(script).arg(gateway.base()).arg(gateway.token()).output().await?)
}

/// What the README shows.
const PYARROW: &str = r#"
import io, json, sys, urllib.request, pyarrow, pyarrow.ipc, pyarrow.parquet
base, token = sys.argv[1:3]

def call(path, body, media_type):
    headers = {"Content-Type": media_type, "Authorization": "Bearer " + token}
    return urllib.request.urlopen(urllib.request.Request(base + path, body, headers))

table = pyarrow.table({
    "id": pyarrow.array([1, 2, None], pyarrow.uint16()),
    "kind": pyarrow.array(["roof", None, "roof"]).dictionary_encode(),
    "at": pyarrow.array([0, 1000, None], pyarrow.timestamp("ns", "Europe/Berlin")),
    "tags": pyarrow.array([["a"], [], None], pyarrow.large_list(pyarrow.string_view())),
    "pairs": pyarrow.array([[("k", 1)], [], None], pyarrow.map_(pyarrow.string(), pyarrow.int32())),
    "gone": pyarrow.nulls(3),
})

def stream(compression=None):
    sink = io.BytesIO()
    options = pyarrow.ipc.IpcWriteOptions(compression=compression)
    with pyarrow.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    return sink.getvalue()

def file():
    sink = io.BytesIO()
    with pyarrow.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    return sink.getvalue()

def parquet(**options):
    sink = io.BytesIO()
    plain = table.set_column(3, "tags", table["tags"].cast(pyarrow.list_(pyarrow.string())))
    pyarrow.parquet.write_table(plain, sink, **options)
    return sink.getvalue()

arrow = "application/vnd.apache.arrow."
pq = "application/vnd.apache.parquet"
bodies = [(stream(), arrow + "stream"), (stream("lz4"), arrow + "stream"), (stream("zstd"), arrow + "stream"),
          (file(), arrow + "file"), (parquet(), pq), (parquet(compression="gzip"), pq),
          (parquet(compression="zstd", data_page_version="2.0", row_group_size=2), pq),
          (parquet(compression="none", use_dictionary=False), pq)]
for body, media_type in bodies:
    answer = json.load(call("/v1/datasets/lab/pa/ingest?create=true", body, media_type))
    assert answer["rows"] == 3, answer

ask = json.dumps({"sql": "SELECT * FROM lab.pa"}).encode()
read = {
    "arrow": lambda b: pyarrow.ipc.open_stream(b).read_all(),
    "arrow-file": lambda b: pyarrow.ipc.open_file(b).read_all(),
    "parquet": lambda b: pyarrow.parquet.read_table(io.BytesIO(b)),
}
answers = [read[f](call("/v1/query?format=" + f, ask, "application/json").read()) for f in read]
for answer in answers:
    rows = answer.to_pylist()
    assert len(rows) == 24, len(rows)
    for row in range(3):
        same = [r for r in rows if r["id"] == table["id"][row].as_py()]
        assert len(same) == 8 and all(r == same[0] for r in same), same
    print(" ".join(str(f.type) for f in answer.schema))
"#;

#[tokio::test]
async fn pyarrow_pushes_and_reads_every_format() -> Result {
    let gateway = Gateway::start().await?;
    let output = python(&gateway, PYARROW).await?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let types: Vec<&str> = said.lines().collect();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(types.len(), 3, "{error}");
    assert!(types[0].starts_with("int32 string timestamp[us, tz=UTC] list<"), "{types:?}");
    assert_eq!(types[0], types[1]);
    Ok(())
}

#[tokio::test]
async fn a_type_that_a_format_cannot_carry_is_refused_by_name() -> Result {
    let gateway = Gateway::start().await?;
    for (sql, column) in [("SELECT INTERVAL '1 month' AS span", "span"), ("SELECT [{x: INTERVAL '1 day'}] AS l", "l")] {
        let body = json!({ "sql": sql, "format": "parquet" });
        let refused = gateway.client().post("/v1/query", &body).await?.expect_problem(400, "unsupported_type")?;
        assert!(refused.text().contains(column), "{}", refused.text());
    }
    Ok(())
}
