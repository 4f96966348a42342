//! All rows and columns in the place of others, in one version.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use datafusion::prelude::SessionConfig;
use lakegate_catalog::{Column, ColumnType, DatasetId};
use lakegate_lake::{Begin, Committed, Lake, LakeError};

use crate::{ask, ask_session, columns, dataset, on_disk, push, rows, session, snapshot, try_push};

/// Other columns, of which one has the name of an old one and another type.
fn others(words: &[&str]) -> RecordBatch {
    let words: ArrayRef = Arc::new(StringArray::from(words.to_vec()));
    let sizes: ArrayRef = Arc::new(Int64Array::from_iter_values(0..words.len() as i64));
    RecordBatch::try_from_iter([("word", words), ("id", sizes)]).expect("columns of one length")
}

fn other_columns() -> Vec<Column> {
    vec![Column::new("word", ColumnType::String), Column::new("id", ColumnType::Int)]
}

async fn replace(lake: &Lake, id: DatasetId, batch: &RecordBatch, key: Option<[u8; 16]>) -> Committed {
    let table = lake.table(id).await.expect("table");
    match table.begin_replacing(other_columns(), key).await.expect("begins") {
        Begin::New(mut append) => {
            append.write(batch).await.expect("write");
            append.commit(key).await.expect("replaced")
        }
        Begin::Seen(record) => Committed { version: record.version, rows: record.rows, duplicate: true },
    }
}

#[tokio::test]
async fn a_replacement_is_one_version_and_the_past_stays() {
    let folder = tempfile::tempdir().expect("tempdir");
    let lake = on_disk(folder.path()).await;
    let id = dataset(&lake).await;
    let (key, replaced) = (([1; 16], [1; 16]), [2; 16]);
    assert!(!try_push(&lake, id, &rows(0..10), Some(key)).await.expect("pushed").duplicate);
    push(&lake, id, &rows(10..12)).await;
    let elsewhere = on_disk(folder.path()).await;
    assert_eq!(ask(&elsewhere, id, "select count(*) from t").await, [12]);
    let done = replace(&lake, id, &others(&["a", "b", "c"]), Some(replaced)).await;
    assert_eq!(done, Committed { version: 3, rows: 3, duplicate: false });
    push(&lake, id, &others(&["d"])).await;

    for lake in [lake, elsewhere, on_disk(folder.path()).await] {
        assert_eq!(snapshot(&lake, id).await.columns(), other_columns());
        assert_eq!(ask(&lake, id, "select count(*) from t where word >= 'b'").await, [3]);
        let before = lake.table(id).await.expect("table").snapshot_at(2).await.expect("there");
        assert_eq!(before.columns(), columns());
        let session = session(&lake, &before, SessionConfig::new());
        assert_eq!(ask_session(&session, r#"select id from t where "Größe (m)" > 5"#).await, [11]);
        // Keys of before and of the replacement itself are known.
        assert!(try_push(&lake, id, &rows(0..10), Some(key)).await.expect("known").duplicate);
        assert_eq!(replace(&lake, id, &others(&["x"]), Some(replaced)).await.version, 3);
        assert_eq!(snapshot(&lake, id).await.version(), 4);
    }
}

#[tokio::test]
async fn rows_of_columns_that_are_gone_are_not_added() {
    let lake = Lake::in_memory().await.expect("lake");
    let id = dataset(&lake).await;
    let table = lake.table(id).await.expect("table");
    let begin = async || match table.begin(None).await.expect("begin") {
        Begin::New(append) => append,
        Begin::Seen(_) => panic!("no key, so new"),
    };
    let mut old = begin().await;
    old.write(&rows(0..5)).await.expect("write");
    replace(&lake, id, &others(&["a"]), None).await;
    let mut new = begin().await;
    new.write(&others(&["b"])).await.expect("write");
    assert!(matches!(old.commit(None).await, Err(LakeError::Replaced)));
    // The same columns once more: what is on its way for them comes after.
    replace(&lake, id, &others(&["c", "d"]), None).await;
    new.commit(None).await.expect("committed");
    assert_eq!(ask(&lake, id, "select count(*) from t").await, [3]);
}

/// Two processes replace and push at the same time: what is there at the end is one replacement and pushes after it.
#[tokio::test(flavor = "multi_thread")]
async fn replacements_at_the_same_time_are_whole() {
    let folder = tempfile::tempdir().expect("tempdir");
    let lakes = [on_disk(folder.path()).await, on_disk(folder.path()).await];
    let id = dataset(&lakes[0]).await;
    replace(&lakes[0], id, &others(&["start"]), None).await;
    let mut running = tokio::task::JoinSet::new();
    for n in 0..6_usize {
        let lake = Arc::clone(&lakes[n % 2]);
        running.spawn(async move { replace(&lake, id, &others(&vec!["r"; 100 + n]), None).await });
        let lake = Arc::clone(&lakes[(n + 1) % 2]);
        running.spawn(async move { push(&lake, id, &others(&["p"])).await });
    }
    let done = running.join_all().await;
    let versions: std::collections::BTreeSet<u64> = done.iter().map(|committed| committed.version).collect();
    assert_eq!(versions, (2..14).collect(), "each its own version");
    let last = done.iter().filter(|committed| committed.rows >= 100).max_by_key(|committed| committed.version);
    let last = last.expect("a replacement");
    let after = done.iter().filter(|committed| committed.rows == 1 && committed.version > last.version).count();
    for lake in &lakes {
        assert_eq!(ask(lake, id, "select count(*) from t where word = 'r'").await, [last.rows as i64]);
        assert_eq!(ask(lake, id, "select count(*) from t where word = 'p'").await, [after as i64]);
    }
}
