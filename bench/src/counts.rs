//! Instructions of inner loops, counted by valgrind: the same on every machine, so that a regression shows in the third digit.

use std::hint::black_box;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use lakegate_e2e::Result;
use lakegate_formats::{Format, RowEncoder};
use lakegate_lake::types::{arrow_type, stored_type};
use lakegate_statement::{Functions, Params, Statement};
use serde_json::json;
use tokio::process::Command;

use crate::record::Recorder;

/// What is counted, and what one unit of it is.
const LOOPS: &[(&str, &str)] = &[
    ("json", "value written as JSON"),
    ("types", "type mapped to the stored one and back"),
    ("statement", "statement checked before planning"),
];
const TIMES: u64 = 200;

pub(crate) async fn run(record: &Recorder) -> Result {
    for (what, unit) in LOOPS {
        // Start and end of the process are in both.
        let (none, many) = (instructions(what, 0).await?, instructions(what, TIMES).await?);
        let each = (many - none) as f64 / TIMES as f64;
        record.measured("counts", what, "lakegate", 1, json!({ "unit": unit, "instructions": each / units(what) }))?;
    }
    Ok(())
}

async fn instructions(what: &str, times: u64) -> Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--log-fd=1", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["count-once", what, &times.to_string()])
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|e| format!("valgrind cannot be run: {e}; install it (Debian: apt-get install valgrind)"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let line = said.lines().find_map(|line| line.split("Collected :").nth(1)).ok_or_else(|| said.to_string())?;
    Ok(line.trim().parse()?)
}

const ROWS: usize = 100;

fn units(what: &str) -> f64 {
    match what {
        "json" => (ROWS * 3) as f64,
        "statement" => STATEMENTS.len() as f64,
        _ => types().len() as f64,
    }
}

fn types() -> Vec<lakegate_catalog::ColumnType> {
    ["bigint", "double", "string", "timestamp", "decimal(10,2)", "list<struct<a: int, b: map<string, date>>>"]
        .iter()
        .filter_map(|text| text.parse().ok())
        .collect()
}

/// One loop, so many times.
pub(crate) fn once(what: &str, times: u64) -> Result {
    match what {
        "json" => write_json(times),
        "types" => map_types(times),
        "statement" => check_statements(times),
        other => Err(format!("no loop `{other}`").into()),
    }
}

fn write_json(times: u64) -> Result {
    let numbers: Vec<i64> = (0..ROWS as i64).map(|n| n * 7_919 - 300).collect();
    let halves: Vec<f64> = numbers.iter().map(|n| *n as f64 / 3.0).collect();
    let words: Vec<String> = numbers.iter().map(|n| format!("a \"word\" of {n}")).collect();
    let batch = RecordBatch::try_from_iter([
        ("number", Arc::new(Int64Array::from(numbers)) as ArrayRef),
        ("third", Arc::new(Float64Array::from(halves))),
        ("word", Arc::new(StringArray::from(words))),
    ])?;
    for _ in 0..times {
        let mut out = Vec::new();
        let mut encoder = RowEncoder::new(Format::NdJson, &batch.schema())?;
        encoder.start(&mut out)?;
        encoder.batch(&batch, &mut out)?;
        encoder.finish(&mut out)?;
        black_box(&out);
    }
    Ok(())
}

fn map_types(times: u64) -> Result {
    let types = types();
    for _ in 0..times {
        for ty in &types {
            let arrow = arrow_type("c", black_box(ty))?;
            black_box(stored_type("c", &arrow)?);
        }
    }
    Ok(())
}

/// A look-up, a report and an older version.
const STATEMENTS: &[&str] = &[
    "SELECT * FROM demo.flights WHERE origin = 'SFO' ORDER BY date LIMIT 10",
    "WITH late AS (SELECT origin, delay, row_number() OVER (PARTITION BY origin ORDER BY delay DESC) AS place \
     FROM demo.flights WHERE delay > 60) SELECT a.origin, a.city, count(*) AS n, avg(l.delay) AS mean FROM late l \
     JOIN demo.airports a ON a.iata = l.origin WHERE l.place <= 5 AND a.state IN ('CA', 'NY', 'TX') \
     GROUP BY a.origin, a.city HAVING count(*) > 3 ORDER BY mean DESC",
    "SELECT count(*) FROM demo.flights FOR VERSION AS OF 12 WHERE date BETWEEN DATE '2001-01-01' AND DATE '2001-02-01'",
];

fn check_statements(times: u64) -> Result {
    let functions = Functions::new(["row_number".to_owned()], ["avg", "count"].map(str::to_owned));
    for _ in 0..times {
        for sql in STATEMENTS {
            black_box(Statement::parse(black_box(sql), &Params::None, &functions)?);
        }
    }
    Ok(())
}
