//! What compaction and vacuum promise: the same rows, whoever races with them, and no file gone that is read.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray as _, Float64Array, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::StreamExt as _;
use lakegate_catalog::{Column, ColumnType, DatasetId};
use lakegate_lake::{Begin, CompactOptions, Lake, LakeError, LakeOptions, Snapshot, StoreOptions, Which};
use proptest::prelude::{ProptestConfig, prop, proptest};
use url::Url;

const DAY: Duration = Duration::from_secs(86_400);

async fn open(folder: &std::path::Path) -> Arc<Lake> {
    let root = Url::from_directory_path(folder).expect("absolute");
    Lake::open(&LakeOptions { root, idempotency_window: DAY, stores: StoreOptions::default(), which: Which::Any })
        .await
        .expect("opens")
}

async fn dataset(lake: &Lake) -> DatasetId {
    let id = DatasetId::generate();
    let columns = [Column::new("Id no.", ColumnType::BigInt), Column::new("x", ColumnType::Double)];
    lake.create(id, &columns).await.expect("created");
    id
}

fn batch(rows: impl IntoIterator<Item = (i64, Option<f64>)>) -> RecordBatch {
    let (ids, xs): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
    let columns = [("Id no.", Arc::new(Int64Array::from(ids)) as ArrayRef), ("x", Arc::new(Float64Array::from(xs)))];
    RecordBatch::try_from_iter(columns).expect("columns of one length")
}

async fn push(lake: &Lake, id: DatasetId, ids: impl IntoIterator<Item = i64>) {
    push_batch(lake, id, &batch(ids.into_iter().map(|id| (id, Some(id as f64))))).await;
}

async fn push_batch(lake: &Lake, id: DatasetId, rows: &RecordBatch) {
    let Begin::New(mut append) = lake.table(id).await.expect("table").begin(None).await.expect("begin") else {
        unreachable!("no key, so new");
    };
    append.write(rows).await.expect("written");
    append.commit(None).await.expect("committed");
}

fn options(order: &[&str]) -> CompactOptions {
    let order = order.iter().map(|&column| column.to_owned()).collect();
    CompactOptions { order, memory: 64 << 20, spill: None, eagerly: true }
}

async fn snapshot(lake: &Lake, id: DatasetId) -> Arc<Snapshot> {
    lake.table(id).await.expect("table").snapshot().await.expect("snapshot")
}

fn session(lake: &Lake, snapshot: &Arc<Snapshot>) -> SessionContext {
    let env = RuntimeEnvBuilder::new().with_object_store_registry(lake.object_store_registry());
    let config = SessionConfig::new().with_target_partitions(1).with_batch_size(64);
    let session = SessionContext::new_with_config_rt(config, env.build_arc().expect("env"));
    session.register_table("t", snapshot.provider()).expect("registers");
    session
}

async fn ids(lake: &Lake, id: DatasetId, sql: &str) -> Vec<i64> {
    let session = session(lake, &snapshot(lake, id).await);
    let batches = session.sql(sql).await.expect("plans").collect().await.expect("runs");
    batches.iter().flat_map(|b| b.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
}

const STORED: &str = "SELECT \"Id no.\" FROM t";
const SORTED: &str = "SELECT \"Id no.\" FROM t ORDER BY 1";

fn data_files(folder: &std::path::Path, id: DatasetId) -> usize {
    let listed = std::fs::read_dir(folder.join(id.to_string())).expect("listed");
    listed.filter(|file| file.as_ref().expect("read").path().extension().is_some_and(|e| e == "parquet")).count()
}

#[tokio::test]
async fn the_same_rows_are_in_one_sorted_file() {
    let folder = tempfile::tempdir().expect("tempdir");
    let lake = open(folder.path()).await;
    let id = dataset(&lake).await;
    for n in [5, 3, 9, 1] {
        push(&lake, id, [n, n + 10]).await;
    }
    let done = lake.compact(id, &options(&["Id no."])).await.expect("compacts").expect("something to do");
    assert_eq!((done.version, done.files_removed, done.files_added, done.rows), (5, 4, 1, 8));
    assert_eq!(lake.compact(id, &options(&[])).await.expect("compacts"), None, "one file is not rewritten");
    for lake in [Arc::clone(&lake), open(folder.path()).await] {
        assert_eq!(ids(&lake, id, STORED).await, [1, 3, 5, 9, 11, 13, 15, 19]);
        assert_eq!(snapshot(&lake, id).await.rows(), Some(8));
        let table = lake.table(id).await.expect("table");
        assert_eq!(table.rows_added(5).await.expect("log"), Some(0), "rewritten rows are not new");
    }
    push(&lake, id, [0]).await;
    assert_eq!(ids(&lake, id, SORTED).await, [0, 1, 3, 5, 9, 11, 13, 15, 19]);
}

#[tokio::test]
async fn without_an_order_rows_stay_as_they_came() {
    let lake = Lake::in_memory().await.expect("lake");
    let id = dataset(&lake).await;
    for n in [5, 3, 9, 1] {
        push(&lake, id, [n, n + 10]).await;
    }
    lake.compact(id, &options(&["no such column"])).await.expect("compacts").expect("something to do");
    assert_eq!(ids(&lake, id, STORED).await, [5, 15, 3, 13, 9, 19, 1, 11]);
}

#[tokio::test]
async fn sorting_that_finds_no_room_changes_nothing() {
    let folder = tempfile::tempdir().expect("tempdir");
    let lake = open(folder.path()).await;
    let id = dataset(&lake).await;
    for n in 0..4 {
        push(&lake, id, (n * 50_000)..(n + 1) * 50_000).await;
    }
    let tight = CompactOptions { memory: 100_000, ..options(&["Id no."]) };
    let error = lake.compact(id, &tight).await.expect_err("no room");
    assert!(matches!(error, LakeError::NoRoom(_)), "{error:?}");
    assert_eq!(snapshot(&lake, id).await.version(), 4);
    assert_eq!(data_files(folder.path(), id), 4, "nothing is left behind");
    // With a disk to spill to, the same memory does.
    let spill = tempfile::tempdir().expect("tempdir");
    let roomy = CompactOptions { memory: 2 << 20, spill: Some((spill.path().to_owned(), 1 << 30)), ..tight };
    lake.compact(id, &roomy).await.expect("compacts").expect("something to do");
    assert_eq!(ids(&lake, id, SORTED).await, (0..200_000).collect::<Vec<_>>());
}

/// Two processes rewrite the same files at the same time: delta-rs's own compaction doubles the rows here.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_compactions_one_wins() {
    let folder = tempfile::tempdir().expect("tempdir");
    let lakes = [open(folder.path()).await, open(folder.path()).await];
    let (mut won, mut overtaken, mut expected) = (0, 0, Vec::new());
    let id = dataset(&lakes[0]).await;
    for round in 0..12 {
        for n in 0..4 {
            let ids = (round * 100 + n * 10)..(round * 100 + n * 10 + 5);
            expected.extend(ids.clone());
            push(&lakes[0], id, ids).await;
        }
        let (order, none) = (options(&["Id no."]), options(&[]));
        let (one, other) = tokio::join!(lakes[0].compact(id, &order), lakes[1].compact(id, &none));
        for outcome in [one, other] {
            match outcome {
                Ok(Some(_)) => won += 1,
                Ok(None) => {}
                Err(LakeError::Overtaken) => overtaken += 1,
                Err(error) => panic!("{error:?}"),
            }
        }
        for lake in &lakes {
            assert_eq!(ids(lake, id, SORTED).await, expected, "round {round}");
        }
    }
    assert!(won >= 12 && overtaken > 0, "they met: {won} won, {overtaken} overtaken");
    let files = snapshot(&lakes[0], id).await;
    assert_eq!(files.rows(), Some(expected.len() as u64));
}

#[tokio::test]
async fn a_second_compaction_in_one_process_is_refused() {
    let folder = tempfile::tempdir().expect("tempdir");
    let lake = open(folder.path()).await;
    let id = dataset(&lake).await;
    for n in 0..4 {
        push(&lake, id, [n]).await;
    }
    let (order, none) = (options(&["Id no."]), options(&[]));
    let (one, other) = tokio::join!(lake.compact(id, &order), lake.compact(id, &none));
    assert!(one.expect("the first runs").is_some());
    assert!(matches!(other, Err(LakeError::Overtaken)));
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_go_on_while_files_are_rewritten() {
    let folder = tempfile::tempdir().expect("tempdir");
    let lakes = [open(folder.path()).await, open(folder.path()).await];
    let id = dataset(&lakes[0]).await;
    let pusher = {
        let lakes = lakes.clone();
        tokio::spawn(async move {
            for n in 0..120 {
                push(&lakes[n as usize % 2], id, [n]).await;
            }
        })
    };
    let mut compactions = 0;
    while !pusher.is_finished() {
        match lakes[0].compact(id, &options(&["Id no."])).await {
            Ok(done) => compactions += usize::from(done.is_some()),
            Err(error) => panic!("{error:?}"),
        }
        tokio::task::yield_now().await;
    }
    pusher.await.expect("all pushed");
    assert!(compactions > 1, "they met");
    for lake in &lakes {
        assert_eq!(ids(lake, id, SORTED).await, (0..120).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_vacuum_takes_nothing_from_a_slow_reader() {
    let folder = tempfile::tempdir().expect("tempdir");
    let lake = open(folder.path()).await;
    let id = dataset(&lake).await;
    for n in 0..4 {
        push(&lake, id, (n * 1_000)..(n + 1) * 1_000).await;
    }
    let read = snapshot(&lake, id).await;
    let mut rows = session(&lake, &read).sql(STORED).await.expect("plans").execute_stream().await.expect("runs");
    let mut seen = rows.next().await.expect("a batch").expect("rows").num_rows();
    lake.compact(id, &options(&[])).await.expect("compacts").expect("something to do");
    assert_eq!(lake.vacuum(id, Duration::ZERO).await.expect("vacuums").files, 0, "all are read or needed");
    while let Some(batch) = rows.next().await {
        seen += batch.expect("the files are still there").num_rows();
    }
    assert_eq!(seen, 4_000);
    drop((rows, read));
    assert_eq!(lake.vacuum(id, DAY).await.expect("vacuums").files, 0, "an older version may still be asked for");
    let done = lake.vacuum(id, Duration::ZERO).await.expect("vacuums");
    assert_eq!((done.files, data_files(folder.path(), id)), (4, 1));
    assert!(done.bytes > 0);
    assert_eq!(ids(&lake, id, SORTED).await, (0..4_000).collect::<Vec<_>>());
    assert_eq!(ids(open(folder.path()).await.as_ref(), id, SORTED).await.len(), 4_000);
}

#[tokio::test]
async fn a_version_that_is_read_keeps_its_files_and_then_expires() {
    let lake = Lake::in_memory().await.expect("lake");
    let id = dataset(&lake).await;
    for n in 0..4 {
        push(&lake, id, [n]).await;
    }
    lake.compact(id, &options(&[])).await.expect("compacts").expect("something to do");
    let table = lake.table(id).await.expect("table");
    let old = table.snapshot_at(2).await.expect("it is there");
    assert_eq!(lake.vacuum(id, Duration::ZERO).await.expect("vacuums").files, 2, "those of version 2 stay");
    let rows = session(&lake, &old).sql(STORED).await.expect("plans").collect().await.expect("runs");
    assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
    drop(old);
    assert_eq!(lake.vacuum(id, Duration::ZERO).await.expect("vacuums").files, 2);
    assert!(matches!(table.snapshot_at(2).await, Err(LakeError::VersionExpired(_))));
    assert_eq!(ids(&lake, id, SORTED).await, [0, 1, 2, 3]);
}

#[tokio::test]
async fn a_vacuum_removes_what_no_commit_names_once_it_is_old() {
    let folder = tempfile::tempdir().expect("tempdir");
    let lake = open(folder.path()).await;
    let id = dataset(&lake).await;
    push(&lake, id, [1]).await;
    // As a push leaves it whose process ended between the file and its commit.
    let orphan = folder.path().join(id.to_string()).join("part-0.parquet");
    std::fs::write(&orphan, "rows").expect("written");
    let other = folder.path().join(id.to_string()).join("_notes.parquet");
    std::fs::write(&other, "not ours").expect("written");
    assert_eq!(lake.vacuum(id, DAY).await.expect("vacuums").files, 0, "it may be of a push that still runs");
    assert_eq!(lake.vacuum(id, Duration::ZERO).await.expect("vacuums").files, 1);
    assert!(!orphan.exists() && other.exists());
    assert_eq!(ids(&lake, id, SORTED).await, [1]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Compacted equals not compacted, for every predicate, with nulls and NaN.
    #[test]
    fn compaction_changes_no_answer(
        files in prop::collection::vec(prop::collection::vec(prop::option::of(-9_i64..9), 1..5), 2..8),
        bound in -9_i64..9,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        runtime.block_on(async {
            let lake = Lake::in_memory().await.expect("lake");
            let id = dataset(&lake).await;
            for file in &files {
                let value = |x: i64| if x == 7 { f64::NAN } else { x as f64 };
                push_batch(&lake, id, &batch(file.iter().map(|x| (x.unwrap_or(0), x.map(value))))).await;
            }
            let asked: Vec<_> = ["x >", "x <=", "x =", "x <>"].iter()
                .map(|left| format!("{STORED} WHERE {left} {bound} ORDER BY 1"))
                .chain([format!("{STORED} WHERE x IS NULL"), SORTED.to_owned(), "SELECT count(*) FROM t WHERE x > 1e300".to_owned()])
                .collect();
            let mut before = Vec::new();
            for sql in &asked {
                before.push(ids(&lake, id, sql).await);
            }
            lake.compact(id, &options(&["x"])).await.expect("compacts").expect("something to do");
            for (sql, before) in asked.iter().zip(before) {
                assert_eq!(ids(&lake, id, sql).await, before, "{sql} on {files:?}");
            }
        });
    }
}
