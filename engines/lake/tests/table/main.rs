//! What a dataset's table promises: versions, exactly-once, pruning, survival of a reopen.

mod replacing;

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray as _, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use lakegate_catalog::{Column, ColumnType, DatasetId, MemoryCatalog};
use lakegate_lake::{
    Begin, Committed, Lake, LakeError, LakeOptions, Snapshot, StoreOptions, Upkeep, UpkeepOptions, Which,
};
use proptest::prelude::{ProptestConfig, any, prop, proptest};
use url::Url;

const DAY: Duration = Duration::from_secs(86_400);

async fn on_disk(folder: &std::path::Path) -> Arc<Lake> {
    let root = Url::from_directory_path(folder).expect("absolute");
    let stores = StoreOptions::default();
    Lake::open(&LakeOptions { root, stores, idempotency_window: DAY, which: Which::Any }).await.expect("opens")
}

fn columns() -> Vec<Column> {
    let column = |name: &str, ty: ColumnType| Column::new(name, ty);
    vec![column("id", ColumnType::BigInt), column("Größe (m)", ColumnType::Double), column("word", ColumnType::String)]
}

fn rows(ids: impl IntoIterator<Item = i64>) -> RecordBatch {
    let ids: Vec<i64> = ids.into_iter().collect();
    let sizes: Vec<f64> = ids.iter().map(|i| *i as f64 / 2.0).collect();
    let words: Vec<String> = ids.iter().map(|i| format!("w{i}")).collect();
    RecordBatch::try_from_iter([
        ("id", Arc::new(Int64Array::from(ids)) as ArrayRef),
        ("Größe (m)", Arc::new(Float64Array::from(sizes))),
        ("word", Arc::new(StringArray::from(words))),
    ])
    .expect("columns of one length")
}

async fn dataset(lake: &Lake) -> DatasetId {
    let id = DatasetId::generate();
    lake.create(id, &columns()).await.expect("created");
    id
}

async fn push(lake: &Lake, id: DatasetId, batch: &RecordBatch) -> Committed {
    try_push(lake, id, batch, None).await.expect("pushed")
}

async fn try_push(
    lake: &Lake,
    id: DatasetId,
    batch: &RecordBatch,
    key: Option<([u8; 16], [u8; 16])>,
) -> Result<Committed, LakeError> {
    let table = lake.table(id).await?;
    match table.begin(key.map(|(key, _)| key)).await? {
        Begin::New(mut append) => {
            append.write(batch).await?;
            append.commit(key.map(|(_, body)| body)).await
        }
        Begin::Seen(record) => Ok(Committed { version: record.version, rows: record.rows, duplicate: true }),
    }
}

async fn snapshot(lake: &Lake, id: DatasetId) -> Arc<Snapshot> {
    lake.table(id).await.expect("table").snapshot().await.expect("snapshot")
}

fn session(lake: &Lake, snapshot: &Arc<Snapshot>, config: SessionConfig) -> SessionContext {
    let env =
        RuntimeEnvBuilder::new().with_object_store_registry(lake.object_store_registry()).build_arc().expect("env");
    let session = SessionContext::new_with_config_rt(config, env);
    session.register_table("t", snapshot.provider()).expect("registers");
    session
}

async fn ask(lake: &Lake, id: DatasetId, sql: &str) -> Vec<i64> {
    let snapshot = snapshot(lake, id).await;
    ask_session(&session(lake, &snapshot, SessionConfig::new()), sql).await
}

async fn ask_session(session: &SessionContext, sql: &str) -> Vec<i64> {
    let batches = session.sql(sql).await.expect("plans").collect().await.expect("runs");
    batches.iter().flat_map(|b| b.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
}

#[tokio::test]
async fn each_push_is_one_version_and_reads_back_after_a_reopen() {
    let folder = tempfile::tempdir().expect("tempdir");
    let lake = on_disk(folder.path()).await;
    let id = dataset(&lake).await;
    assert_eq!(snapshot(&lake, id).await.version(), 0);
    assert_eq!(ask(&lake, id, "select count(*) from t").await, [0]);
    assert_eq!(push(&lake, id, &rows(0..10)).await, Committed { version: 1, rows: 10, duplicate: false });
    assert_eq!(push(&lake, id, &rows(10..15)).await.version, 2);

    for lake in [lake, on_disk(folder.path()).await] {
        let now = snapshot(&lake, id).await;
        assert_eq!((now.version(), now.rows()), (2, Some(15)));
        assert_eq!(now.columns(), columns());
        assert_eq!(ask(&lake, id, r#"select id from t where "Größe (m)" >= 6.5 order by id"#).await, [13, 14]);
        assert_eq!(ask(&lake, id, "select id from t where word = 'w12'").await, [12]);
        assert_eq!(lake.table(id).await.expect("table").rows_added(2).await.expect("log"), Some(5));
    }
}

#[tokio::test]
async fn a_dropped_append_leaves_no_rows() {
    let lake = Lake::in_memory().await.expect("lake");
    let id = dataset(&lake).await;
    let Begin::New(mut append) = lake.table(id).await.expect("table").begin(None).await.expect("begin") else {
        panic!("no key, so new");
    };
    append.write(&rows(0..100)).await.expect("write");
    drop(append);
    assert_eq!(snapshot(&lake, id).await.version(), 0);
}

#[tokio::test]
async fn what_does_not_fit_is_refused_by_row_and_column() {
    let lake = Lake::in_memory().await.expect("lake");
    let id = dataset(&lake).await;
    let text: ArrayRef = Arc::new(StringArray::from(vec!["1", "2", "x"]));
    let batch = RecordBatch::try_from_iter([("id", text)]).expect("batch");
    let error = try_push(&lake, id, &batch, None).await.expect_err("x is no number");
    assert!(matches!(&error, LakeError::BadValue { row: 3, column, .. } if column == "id"), "{error}");
    let unknown =
        RecordBatch::try_from_iter([("nope", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]).expect("batch");
    assert!(matches!(try_push(&lake, id, &unknown, None).await, Err(LakeError::SchemaMismatch(_))));
}

/// Does what tables want, for ever.
async fn keep_up(lake: Arc<Lake>) {
    let options = UpkeepOptions { memory: 8 << 20, spill: None, retention: DAY, deadline: DAY };
    let (wanted, upkeep) = (lake.wanted(), Upkeep::new(lake, Arc::new(MemoryCatalog::new()), options));
    loop {
        for id in wanted.take().await {
            upkeep.keep_up(id).await.expect("kept up");
        }
    }
}

#[tokio::test]
async fn a_key_counts_once_also_after_checkpoint_and_reopen() {
    let folder = tempfile::tempdir().expect("tempdir");
    let lake = on_disk(folder.path()).await;
    let id = dataset(&lake).await;
    let key = ([1; 16], [2; 16]);
    let first = try_push(&lake, id, &rows(0..7), Some(key)).await.expect("pushed");
    assert!(!first.duplicate);
    let again = try_push(&lake, id, &rows(0..7), Some(key)).await.expect("known");
    assert_eq!(again, Committed { duplicate: true, ..first });

    // Enough commits for a checkpoint, so that the key is read from it and not from the commit.
    let upkeep = tokio::spawn(keep_up(Arc::clone(&lake)));
    let checkpoint = folder.path().join(id.to_string()).join("_delta_log/_last_checkpoint");
    let mut n = 0;
    while !checkpoint.exists() {
        n += 1;
        assert!(n < 2_000, "no checkpoint after {n} commits");
        push(&lake, id, &rows([n])).await;
    }
    upkeep.abort();

    let reopened = on_disk(folder.path()).await;
    let table = reopened.table(id).await.expect("table");
    match table.begin(Some(key.0)).await.expect("begin") {
        Begin::Seen(record) => assert_eq!((record.version, record.rows, record.body), (1, 7, key.1)),
        Begin::New(_) => panic!("the key was forgotten"),
    }
    assert_eq!(ask(&reopened, id, "select count(*) from t").await, [7 + n]);
}

#[tokio::test]
async fn a_key_is_held_while_its_push_runs() {
    let lake = Lake::in_memory().await.expect("lake");
    let id = dataset(&lake).await;
    let table = lake.table(id).await.expect("table");
    let running = table.begin(Some([9; 16])).await.expect("begin");
    assert!(matches!(table.begin(Some([9; 16])).await, Err(LakeError::KeyInUse)));
    drop(running);
    assert!(matches!(table.begin(Some([9; 16])).await, Ok(Begin::New(_))));
}

/// Two processes on one table: every push lands exactly once, whoever wins a version, and the same
/// key sent to both counts once.
#[tokio::test(flavor = "multi_thread")]
async fn two_writers_lose_nothing_and_double_nothing() {
    let folder = tempfile::tempdir().expect("tempdir");
    let lakes = [on_disk(folder.path()).await, on_disk(folder.path()).await];
    let id = dataset(&lakes[0]).await;
    let mut running = tokio::task::JoinSet::new();
    for n in 0..20_i64 {
        for lake in &lakes {
            let lake = Arc::clone(lake);
            let key = ([u8::try_from(n).expect("small"); 16], [0; 16]);
            running.spawn(async move { try_push(&lake, id, &rows([n]), Some(key)).await.expect("pushed") });
        }
    }
    let done = running.join_all().await;
    assert_eq!(done.iter().filter(|c| !c.duplicate).count(), 20);
    for lake in &lakes {
        assert_eq!(ask(lake, id, "select id from t order by id").await, (0..20).collect::<Vec<_>>());
        assert_eq!(snapshot(lake, id).await.version(), 20);
    }
}

/// Deletes what a clean-up of the log deletes: commits and checkpoints before a version.
fn forget_log_before(folder: &std::path::Path, id: DatasetId, version: u64) {
    for entry in std::fs::read_dir(folder.join(id.to_string()).join("_delta_log")).expect("log") {
        let path = entry.expect("entry").path();
        let name = path.file_name().expect("name").to_string_lossy().into_owned();
        if name.split('.').next().and_then(|number| number.parse().ok()).is_some_and(|v: u64| v < version) {
            std::fs::remove_file(path).expect("removed");
        }
    }
}

#[tokio::test]
async fn older_versions_are_read_until_their_log_or_files_are_gone() {
    let folder = tempfile::tempdir().expect("tempdir");
    let lake = on_disk(folder.path()).await;
    let id = dataset(&lake).await;
    let upkeep = tokio::spawn(keep_up(Arc::clone(&lake)));
    let log = folder.path().join(id.to_string()).join("_delta_log");
    let mut n = 0;
    while !log.join("_last_checkpoint").exists() {
        push(&lake, id, &rows([n])).await;
        n += 1;
        assert!(n < 2_000, "no checkpoint after {n} commits");
    }
    upkeep.abort();
    push(&lake, id, &rows([n])).await;
    let newest = snapshot(&lake, id).await.version();
    let table = on_disk(folder.path()).await.table(id).await.expect("table");
    assert_eq!(table.snapshot_at(7).await.expect("kept").rows(), Some(7));
    let missing = table.snapshot_at(newest + 1).await.expect_err("not made yet");
    assert!(matches!(missing, LakeError::NoVersion { version, newest: n } if version == newest + 1 && n == newest));

    let checkpoint: serde_json::Value =
        serde_json::from_slice(&std::fs::read(log.join("_last_checkpoint")).expect("hint")).expect("json");
    let checkpoint = checkpoint["version"].as_u64().expect("version");
    let history = table.history(10_000, Some(checkpoint + 1)).await.expect("history");
    let rows_then: Option<u64> = history.iter().map(|info| info.rows_added).sum();
    forget_log_before(folder.path(), id, checkpoint);
    let table = on_disk(folder.path()).await.table(id).await.expect("table");
    assert_eq!(table.snapshot_at(checkpoint).await.expect("kept").rows(), rows_then);
    for gone in [0, 7, checkpoint - 1] {
        assert_eq!(table.snapshot_at(gone).await.expect_err("gone").code(), "version_expired", "{gone}");
    }
    let history = table.history(1_000, None).await.expect("history");
    let versions: Vec<u64> = history.iter().map(|info| info.version).collect();
    assert_eq!(versions, (checkpoint..=newest).rev().collect::<Vec<_>>(), "what the log still says");
    let early = history[0].timestamp - chrono::Duration::days(1);
    assert_eq!(table.version_at(early).await.expect_err("gone").code(), "version_expired");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// The rows at version v are the rows after the v-th push, by number and by time, in any order of asking.
    #[test]
    fn a_version_is_what_its_push_left(pushes in prop::collection::vec(prop::collection::vec(0_i64..100, 0..5), 1..8)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        runtime.block_on(async {
            let lake = Lake::in_memory().await.expect("lake");
            let id = dataset(&lake).await;
            for ids in &pushes {
                push(&lake, id, &rows(ids.clone())).await;
            }
            let table = lake.table(id).await.expect("table");
            let history = table.history(100, None).await.expect("history");
            assert_eq!(history.len(), pushes.len() + 1);
            for v in (0..=pushes.len()).rev() {
                let version = v as u64;
                let then = table.snapshot_at(version).await.expect("kept");
                let found = ask_session(&session(&lake, &then, SessionConfig::new()), "select id from t order by id").await;
                let mut expected: Vec<i64> = pushes[..v].concat();
                expected.sort_unstable();
                assert_eq!((then.version(), found), (version, expected));
                let info = &history[pushes.len() - v];
                assert_eq!((info.version, info.rows_added), (version, Some(if v == 0 { 0 } else { pushes[v - 1].len() as u64 })));
                // Several commits may share a millisecond; the last of them is the one.
                let last = history.iter().filter(|other| other.timestamp <= info.timestamp).map(|i| i.version).max();
                assert_eq!(Some(table.version_at(info.timestamp).await.expect("kept")), last);
            }
            let early = history[pushes.len()].timestamp - chrono::Duration::seconds(1);
            assert!(matches!(table.version_at(early).await, Err(LakeError::NoVersionYet { .. })));
            let part: Vec<u64> = table.history(2, Some(2)).await.expect("history").iter().map(|i| i.version).collect();
            assert_eq!(part, if pushes.is_empty() { vec![0] } else { vec![1, 0] });
        });
    }
}

#[tokio::test]
async fn new_columns_are_null_in_old_rows_whatever_was_on_its_way() {
    let folder = tempfile::tempdir().expect("tempdir");
    let lake = on_disk(folder.path()).await;
    let id = dataset(&lake).await;
    push(&lake, id, &rows(0..10)).await;
    let table = lake.table(id).await.expect("table");
    let Begin::New(mut under_way) = table.begin(None).await.expect("begin") else { panic!("no key, so new") };
    under_way.write(&rows(10..15)).await.expect("write");

    // `größe m` would be stored under a name that is taken.
    let new = [("größe_ m", ColumnType::Int), ("seen", ColumnType::TimestampNtz)].map(|(n, ty)| Column::new(n, ty));
    let now = table.add_columns(new.to_vec()).await.expect("added");
    assert_eq!(now.version(), 2);
    let again = table.add_columns(new.to_vec()).await.expect("there already");
    assert_eq!(again.version(), 2, "nothing to add is no version");
    assert_eq!(under_way.commit(None).await.expect("committed").version, 3);
    let with = RecordBatch::try_from_iter([
        ("id", Arc::new(Int64Array::from(vec![20])) as ArrayRef),
        ("größe_ m", Arc::new(Int64Array::from(vec![7]))),
    ]);
    push(&lake, id, &with.expect("batch")).await;

    for lake in [lake, on_disk(folder.path()).await] {
        let expected: Vec<_> = columns().into_iter().chain(new.clone()).collect();
        assert_eq!(snapshot(&lake, id).await.columns(), expected);
        assert_eq!(ask(&lake, id, "select count(*) from t where seen is null").await, [16]);
        assert_eq!(ask(&lake, id, r#"select id from t where "größe_ m" = 7"#).await, [20]);
        assert_eq!(ask(&lake, id, r#"select count(*) from t where "größe_ m" is null"#).await, [15]);
        assert_eq!(ask(&lake, id, r#"select count(*) from t where "Größe (m)" >= 5"#).await, [5]);
    }
}

#[tokio::test]
async fn columns_that_do_not_fit_are_refused() {
    let lake = Lake::in_memory().await.expect("lake");
    let id = dataset(&lake).await;
    let table = lake.table(id).await.expect("table");
    let other_type = table.add_columns(vec![Column::new("ID", ColumnType::BigInt)]).await;
    assert!(matches!(other_type, Err(LakeError::ColumnExists { .. })));
    let required = Column { nullable: false, ..Column::new("must", ColumnType::Int) };
    assert!(matches!(table.add_columns(vec![required]).await, Err(LakeError::SchemaMismatch(_))));
    assert_eq!(snapshot(&lake, id).await.version(), 0);
}

/// Two processes add columns to one table while both push: no column and no row is lost.
#[tokio::test(flavor = "multi_thread")]
async fn columns_added_at_the_same_time_are_all_there() {
    let folder = tempfile::tempdir().expect("tempdir");
    let lakes = [on_disk(folder.path()).await, on_disk(folder.path()).await];
    let id = dataset(&lakes[0]).await;
    let mut running = tokio::task::JoinSet::new();
    for n in 0..5_i64 {
        for (which, lake) in lakes.iter().enumerate() {
            let (adding, pushing) = (Arc::clone(lake), Arc::clone(lake));
            running.spawn(async move {
                let column = Column::new(format!("c{which}{n}"), ColumnType::Int);
                adding.table(id).await.expect("table").add_columns(vec![column]).await.expect("added");
            });
            running.spawn(async move {
                push(&pushing, id, &rows([n])).await;
            });
        }
    }
    running.join_all().await;
    for lake in &lakes {
        assert_eq!(ask(lake, id, "select count(*) from t").await, [10]);
        assert_eq!(snapshot(lake, id).await.columns().len(), 13);
    }
}

#[tokio::test]
async fn removing_a_dataset_removes_its_files() {
    let folder = tempfile::tempdir().expect("tempdir");
    let lake = on_disk(folder.path()).await;
    let id = dataset(&lake).await;
    push(&lake, id, &rows(0..10)).await;
    lake.remove(id).await.expect("removed");
    lake.remove(id).await.expect("removing twice is no error");
    assert!(matches!(lake.table(id).await.err(), Some(LakeError::NoTable)));
}

#[tokio::test]
async fn plans_show_no_host_path() {
    let folder = tempfile::tempdir().expect("tempdir");
    let lake = on_disk(folder.path()).await;
    let id = dataset(&lake).await;
    push(&lake, id, &rows(0..10)).await;
    let snapshot = snapshot(&lake, id).await;
    let session = session(&lake, &snapshot, SessionConfig::new());
    let batches = session.sql("explain select * from t").await.expect("plans").collect().await.expect("runs");
    let text = arrow::util::pretty::pretty_format_batches(&batches).expect("prints").to_string();
    assert!(!text.contains(&folder.path().display().to_string()), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Pruned equals unpruned: whatever the files hold, skipping by bounds changes no answer.
    #[test]
    fn skipping_files_changes_no_answer(
        files in prop::collection::vec(prop::collection::vec(prop::option::of(-20_i64..20), 1..6), 1..6),
        low in -25_i64..25,
        nan in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        runtime.block_on(async {
            let lake = Lake::in_memory().await.expect("lake");
            let id = dataset(&lake).await;
            for file in &files {
                let sizes: Float64Array = file.iter().map(|v| v.map(|v| if nan && v == 7 { f64::NAN } else { v as f64 })).collect();
                let words: StringArray = file.iter().map(|v| v.map(|v| format!("w{v:+04}"))).collect();
                let batch = RecordBatch::try_from_iter([
                    ("id", Arc::new(Int64Array::from(file.clone())) as ArrayRef),
                    ("Größe (m)", Arc::new(sizes)),
                    ("word", Arc::new(words)),
                ]).expect("batch");
                push(&lake, id, &batch).await;
            }
            let snapshot = snapshot(&lake, id).await;
            // Filters run inside the Parquet reader too; what DataFusion does wrong for aggregates is off, as queries have it.
            let config = SessionConfig::new()
                .set_bool("datafusion.execution.parquet.pushdown_filters", true)
                .set_bool("datafusion.optimizer.enable_aggregate_dynamic_filter_pushdown", false);
            let pruned = session(&lake, &snapshot, config);
            for filter in [format!("id >= {low}"), format!("\"Größe (m)\" < {low}"), format!("\"Größe (m)\" > {low}"), format!("word > 'w{low:+04}'"), format!("id = {low} or id is null")] {
                let matching = ask_session(&pruned, &format!("select count(*) from t where {filter}")).await;
                // The same predicate hidden from every optimisation, on every row.
                let all = ask_session(&pruned, &format!("select count(*) filter (where {filter}) from t")).await;
                assert_eq!(matching, all, "{filter} on {files:?}");
            }
            // A limit teaches the scan a bound while it runs.
            let top = ask_session(&pruned, "select id from (select id, \"Größe (m)\" from t order by 2 desc nulls last limit 1)").await;
            let all = ask_session(&pruned, "select id from (select id, row_number() over (order by \"Größe (m)\" desc nulls last) as n from t) where n = 1").await;
            assert_eq!(top, all, "{files:?}");
            let extremes = pruned.sql("select min(id), max(id), min(word), max(word) from t").await.expect("plans").collect().await.expect("runs");
            let lowest = files.iter().flatten().flatten().min().copied();
            let seen = extremes[0].column(0).as_primitive::<Int64Type>();
            assert_eq!(arrow::array::Array::is_valid(seen, 0).then(|| seen.value(0)), lowest);
        });
    }
}
