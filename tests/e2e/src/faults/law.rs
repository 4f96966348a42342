//! The law: every acknowledged row is there exactly once, and no other.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::Fault;
use super::case::{ROWS, patiently};
use crate::emulator::python;
use crate::{Bucket, Client, Result};

/// A dataset and what was acknowledged in it.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) id: String,
    /// Idempotency keys of the pushes, which their rows carry.
    pub(super) keys: BTreeSet<String>,
    pub(super) faults: Vec<Fault>,
}

impl Table {
    /// Whether a query finds what it must.
    pub(super) async fn holds(&self, client: &Client) -> Result {
        let sql = format!("SELECT push, row FROM {} ORDER BY push, row", self.name);
        let request = json!({ "sql": sql, "limit": 1_000_000 });
        let answer = patiently(async || client.post("/v1/query", &request).await).await?.json()?;
        let rows = answer["rows"].as_array().ok_or("no rows")?;
        let found = rows.iter().map(|row| (row["push"].as_str().unwrap_or("?").to_owned(), row["row"].as_i64()));
        self.judge("a query", found.collect())
    }

    fn judge(&self, reader: &str, found: Vec<(String, Option<i64>)>) -> Result {
        let mut left: BTreeSet<_> =
            self.keys.iter().flat_map(|key| (0..ROWS).map(|row| (key.clone(), Some(i64::from(row))))).collect();
        for row in found {
            if !left.remove(&row) {
                return Err(
                    format!("{reader} finds in {} {row:?}, which is doubled or never was sent", self.name).into()
                );
            }
        }
        if left.is_empty() { Ok(()) } else { Err(format!("{reader} does not find in {} {left:?}", self.name).into()) }
    }
}

/// What the gateway answers.
pub(super) async fn for_queries(client: &Client, tables: &[Table]) -> Result {
    for table in tables {
        table.holds(client).await?;
    }
    Ok(())
}

/// What deltalake reads, and what duckdb finds in the files that deltalake says are the table's.
pub(super) async fn for_other_readers(bucket: &Bucket, tables: &[Table]) -> Result {
    let urls: BTreeMap<_, _> = tables.iter().map(|table| (&table.id, bucket.table(&table.id))).collect();
    let input = json!({ "tables": urls, "options": serde_json::from_str::<Value>(&bucket.storage_options())? });
    let answer: Value = serde_json::from_str(&python(READ, &[&input.to_string()]).await?)?;
    for table in tables {
        for reader in ["deltalake", "duckdb"] {
            let rows = answer[reader][&table.id].as_array().ok_or_else(|| format!("{reader} read nothing"))?;
            let found = rows.iter().map(|row| (row[0].as_str().unwrap_or("?").to_owned(), row[1].as_i64()));
            table.judge(reader, found.collect())?;
        }
    }
    Ok(())
}

const READ: &str = r#"
import json, sys, tempfile, pathlib, duckdb, pyarrow.parquet
from deltalake import DeltaTable

asked = json.loads(sys.argv[1])
found = {"deltalake": {}, "duckdb": {}}
for id, url in asked["tables"].items():
    table = DeltaTable(url, storage_options=asked["options"])
    rows = table.to_pyarrow_table().to_pylist()
    found["deltalake"][id] = [[row["push"], row["row"]] for row in rows]
    with tempfile.TemporaryDirectory() as folder:
        files = table.to_pyarrow_dataset().files
        store = table.to_pyarrow_dataset().filesystem
        for number, file in enumerate(files):
            with store.open_input_file(file) as source:
                pathlib.Path(folder, f"{number}.parquet").write_bytes(source.read())
        rows = duckdb.sql(f"SELECT push, row FROM read_parquet('{folder}/*.parquet')").fetchall() if files else []
        found["duckdb"][id] = [list(row) for row in rows]
print(json.dumps(found))
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_doubled_and_wrong_rows_are_seen() {
        let keys = BTreeSet::from(["a".to_owned()]);
        let table = Table { name: "t".to_owned(), id: "i".to_owned(), keys, faults: Vec::new() };
        let row = |push: &str, row| (push.to_owned(), Some(row));
        let right = vec![row("a", 0), row("a", 2), row("a", 1)];
        assert!(table.judge("x", right.clone()).is_ok());
        for (change, added) in [(0, None), (3, Some(row("a", 1))), (2, Some(row("b", 1))), (2, Some(row("a", 7)))] {
            let found = right.iter().take(change).cloned().chain(added).collect();
            assert!(table.judge("x", found).is_err());
        }
    }
}
