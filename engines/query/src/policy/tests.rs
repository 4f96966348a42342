//! What a plan reads below the leaf, which nothing outside can tell.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use datafusion::catalog::TableProvider;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::{Expr, col, lit};
use futures::TryStreamExt as _;
use lakegate_catalog::{Caller, Column, ColumnType, Mask, NewDataset, Policy};
use lakegate_lake::{Begin, Lake, Snapshot};

use super::compile::{self, Subject};
use super::scan::{PolicyScan, PolicyScanExec};
use crate::session::{Sessions, Shape};

/// Files, each with as many rows.
#[derive(Clone, Copy)]
struct Files {
    files: i64,
    rows: i64,
    /// Whether the first file has a NaN, so that not all of its bounds are known.
    nan: bool,
}

/// `id` counts through the files, and the others tell it too.
async fn table(lake: &Lake, Files { files, rows, nan }: Files) -> (Vec<Column>, Arc<Snapshot>) {
    let columns = vec![
        Column::new("id", ColumnType::BigInt),
        Column::new("masked", ColumnType::BigInt),
        Column::new("text of it", ColumnType::String),
        Column::new("real", ColumnType::Double),
    ];
    let new = NewDataset::root("demo.t".parse().expect("name"), columns.clone());
    lake.create(new.id, &columns).await.expect("table");
    let table = lake.table(new.id).await.expect("table");
    for file in 0..files {
        let Begin::New(mut append) = table.begin(None).await.expect("begins") else { unreachable!("no key was used") };
        let ids = || file * rows..(file + 1) * rows;
        let real = |id: i64| if nan && id == 0 { f64::NAN } else { id as f64 };
        let arrays: Vec<(&str, ArrayRef)> = vec![
            ("id", Arc::new(Int64Array::from_iter_values(ids()))),
            ("masked", Arc::new(Int64Array::from_iter_values(ids()))),
            ("text of it", Arc::new(StringArray::from_iter_values(ids().map(|id| format!("{id:08}"))))),
            ("real", Arc::new(Float64Array::from_iter_values(ids().map(real)))),
        ];
        append.write(&RecordBatch::try_from_iter(arrays).expect("batch")).await.expect("written");
        append.commit(None).await.expect("committed");
    }
    let snapshot = table.snapshot().await.expect("snapshot");
    (columns, snapshot)
}

fn total(plan: &dyn ExecutionPlan, metric: &str) -> usize {
    let own = plan.metrics().and_then(|metrics| metrics.sum_by_name(metric)).map_or(0, |value| value.as_usize());
    own + plan.children().into_iter().map(|child| total(child.as_ref(), metric)).sum::<usize>()
}

/// Bytes read below the leaf, and rows that came out of it.
async fn read(policy: &Policy, filters: &[Expr]) -> (usize, usize) {
    read_of(Files { files: 8, rows: 1_000, nan: false }, policy, filters).await
}

async fn read_of(files: Files, policy: &Policy, filters: &[Expr]) -> (usize, usize) {
    let lake = Lake::in_memory().await.expect("lake");
    let (columns, snapshot) = table(&lake, files).await;
    let runtime = RuntimeEnvBuilder::new().with_object_store_registry(lake.object_store_registry()).build_arc();
    let sessions = Sessions::new(runtime.expect("runtime")).expect("sessions");
    let stored = snapshot.schema();
    let subject = Subject { policy, columns: &columns, stored: &stored, caller: &Caller::Anonymous };
    let rules = compile::compile(&subject, &sessions).expect("fits");
    let scan = PolicyScan::new("demo.t".to_owned(), snapshot.provider(), Arc::new(rules));
    let state = sessions.of(Vec::new(), 2, &Shape::default());
    let plan = scan.scan(&state, None, filters, Some(1)).await.expect("planned");
    let mut rows = 0;
    for partition in 0..plan.properties().partitioning.partition_count() {
        let batches: Vec<RecordBatch> =
            plan.execute(partition, state.task_ctx()).expect("runs").try_collect().await.expect("rows");
        rows += batches.iter().map(RecordBatch::num_rows).sum::<usize>();
    }
    assert!(plan.metrics().is_none() && plan.children().is_empty() && plan.fetch().is_none());
    let leaf = plan.downcast_ref::<PolicyScanExec>().expect("a leaf");
    (total(leaf.stored().as_ref(), "bytes_scanned"), rows)
}

fn policy(row_filter: &str) -> Policy {
    Policy {
        row_filter: Some(row_filter.to_owned()),
        masks: [("masked".to_owned(), Mask::Expression("masked % 10".to_owned()))].into(),
    }
}

#[tokio::test]
async fn conjuncts_that_tell_nothing_skip_files_and_others_do_not() {
    let even = policy("id % 2 = 0");
    let (all, rows) = read(&even, &[]).await;
    assert_eq!(rows, 4_000, "no limit goes in");
    let (few, rows) = read(&even, &[col("id").lt(lit(10_i64))]).await;
    assert_eq!(rows, 500, "the file's rows: the conjunct is applied above");
    assert!(few * 4 < all, "{few} of {all} bytes");
    let (few, _) = read(
        &even,
        &[Expr::Column(datafusion::common::Column::new(Some("t"), "text of it"))
            .eq(lit("00000007"))
            .and((lit(1_i64) / col("id")).gt(lit(0_i64)))],
    )
    .await;
    assert!(few * 4 < all, "{few} of {all} bytes");
    for closed in [col("masked").lt(lit(10_i64)), (lit(1_i64) / col("id")).gt(lit(0_i64)), col("id").lt(lit(10_i32))] {
        assert_eq!(read(&even, std::slice::from_ref(&closed)).await, (all, 4_000), "{closed}");
    }
}

#[tokio::test]
async fn where_nothing_is_masked_the_conjuncts_that_tell_nothing_leave_rows_out() {
    let even = Policy { masks: [("masked".to_owned(), Mask::Hidden)].into(), ..policy("id % 2 = 0") };
    assert_eq!(read(&even, &[col("id").lt(lit(10_i64))]).await.1, 5);
    assert_eq!(read(&even, &[(lit(1_i64) / col("id")).gt(lit(0_i64))]).await.1, 4_000);
}

#[tokio::test]
async fn beside_a_file_with_unknown_bounds_pages_of_the_others_are_skipped() {
    let even = policy("id % 2 = 0");
    let files = |nan| Files { files: 2, rows: 100_000, nan };
    let middle = [col("id").between(lit(99_990_i64), lit(100_009_i64))];
    let (all, rows) = read_of(files(true), &even, &[]).await;
    assert_eq!(rows, 100_000);
    let (few, _) = read_of(files(false), &even, &middle).await;
    assert!(few * 4 < all, "{few} of {all} bytes");
    let (half, _) = read_of(files(true), &even, &middle).await;
    assert!(few < half && half * 4 < all * 3, "{half} of {all} bytes, {few} where all bounds are known");
}

#[tokio::test]
async fn the_row_filter_skips_files() {
    let (all, _) = read(&policy("id % 2 = 0"), &[]).await;
    for (filter, rows) in [
        ("id < 10", 10),
        ("masked BETWEEN 5 AND 9 OR is_member('staff')", 5),
        ("\"text of it\" = '00000003' AND length(\"text of it\") > 0", 1),
    ] {
        let (few, found) = read(&policy(filter), &[]).await;
        assert_eq!(found, rows, "{filter}");
        assert!(few * 4 < all, "{filter}: {few} of {all} bytes");
    }
    assert_eq!(read(&policy("is_member('staff')"), &[]).await, (0, 0), "nothing is read for nobody");
}
