//! Our scan beside delta-rs's on one table: time and bytes read, each run in a process of its own so that the system counts
//! what it reads.

use std::path::Path;
use std::time::Instant;

use lakegate_e2e::{Result, environment};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::record::Recorder;
use crate::sides::{in_process, open, run_in_process};
use crate::tpch::Loaded;

const ROUNDS: u32 = 5;
/// From all rows to a few, and columns of different weight. `t` is `lineitem`.
const STATEMENTS: &[(&str, &str)] = &[
    ("two columns", "SELECT sum(l_quantity), sum(l_extendedprice) FROM t"),
    ("a range of keys", "SELECT sum(l_quantity) FROM t WHERE l_orderkey BETWEEN 1000000 AND 1010000"),
    ("one key", "SELECT l_comment FROM t WHERE l_orderkey = 4000000"),
    ("all columns", "SELECT * FROM t"),
];

pub(crate) async fn run(record: &Recorder) -> Result {
    let loaded = Loaded::new().await?;
    let folder = loaded.folder("lineitem")?;
    let id = folder.file_name().and_then(|name| name.to_str()).ok_or("no id")?.to_owned();
    for (name, sql) in STATEMENTS {
        for round in 0..=ROUNDS {
            let ours = ours(&loaded.root(), &id, sql).await?;
            let theirs = theirs(&folder, sql).await?;
            if ours["rows"] != theirs["rows"] {
                return Err(format!("{name}: {ours} is not {theirs}").into());
            }
            if round > 0 {
                record.measured("scan", name, "lakegate", round, ours)?;
                record.measured("scan", name, "delta-rs", round, theirs)?;
            }
        }
    }
    Ok(())
}

async fn ours(root: &Path, id: &str, sql: &str) -> Result<Value> {
    let mut command = Command::new(std::env::current_exe()?);
    said(command.arg("scan-once").arg(root).arg(id).arg(sql)).await
}

async fn theirs(folder: &Path, sql: &str) -> Result<Value> {
    let python = environment("LAKEGATE_BENCH_PYTHON", "an interpreter with bench/requirements.txt installed")?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/delta_scan.py");
    said(Command::new(python).arg(script).arg(folder).arg(sql)).await
}

async fn said(command: &mut Command) -> Result<Value> {
    let output = command.kill_on_drop(true).output().await?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// One statement with our scan; prints its numbers.
pub(crate) async fn once(root: &str, id: &str, sql: &str) -> Result {
    // A gateway opens its lake once, and then table after table.
    let lake = open(Path::new(root)).await?;
    let (before, started) = (bytes_read()?, Instant::now());
    let session = in_process(&lake, "lake", &[("t".to_owned(), id.to_owned())]).await?;
    session.sql("SET datafusion.catalog.default_schema = 'lake'").await?;
    let took = run_in_process(&session, sql).await?;
    let ms = started.elapsed().as_secs_f64() * 1e3;
    let numbers = json!({ "ms": ms, "bytes": bytes_read()? - before, "rows": took.rows });
    use std::io::Write as _;
    Ok(writeln!(std::io::stdout().lock(), "{numbers}")?)
}

fn bytes_read() -> Result<u64> {
    let counters = std::fs::read_to_string("/proc/self/io")?;
    let line = counters.lines().find_map(|line| line.strip_prefix("rchar:")).ok_or("no rchar line")?;
    Ok(line.trim().parse()?)
}
