//! An engine whose datasets have policies, and callers to read them as.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use futures::TryStreamExt;
use lakegate_catalog::{
    Caller, Column, DatasetChange, DatasetId, DatasetName, Datasets, Grant, Grantee, Grants, Groups, Identity, Mask,
    MemoryCatalog, NewDataset, NewPrincipal, Policy, Principal, PrincipalKind, Principals, Role, Scope, Visibility,
};
use lakegate_lake::{Begin, Lake};
use lakegate_query::{Engine, QueryError, QueryRequest};

use crate::house::{options, request};

pub(crate) struct Guarded {
    pub(crate) engine: Engine,
    pub(crate) catalog: Arc<MemoryCatalog>,
    lake: Arc<Lake>,
    /// Owns every dataset.
    pub(crate) owner: Caller,
    owns: Principal,
    /// Reads, in the group `staff`.
    pub(crate) ann: Caller,
    /// Maintains every dataset of `demo`, in no group.
    pub(crate) mel: Caller,
    _spill: tempfile::TempDir,
}

/// What a caller gets to see of a question.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    /// Columns with their types, and rows as text: sorted, unless the statement orders them.
    Rows(String, Vec<String>),
    /// Code, place and words.
    Refused(&'static str, Option<(u64, u64)>, String),
}

impl Guarded {
    pub(crate) async fn new() -> Self {
        let catalog = Arc::new(MemoryCatalog::new());
        let lake = Lake::in_memory().await.expect("lake");
        let mut people = Vec::new();
        for name in ["owner", "ann", "mel"] {
            let new = NewPrincipal { name: name.into(), kind: PrincipalKind::User, external: None };
            people.push(catalog.create_principal(new).await.expect("principal"));
        }
        let [owns, ann, mel] = <[Principal; 3]>::try_from(people).expect("three");
        let namespace = "demo.t".parse::<DatasetName>().expect("name").namespace().clone();
        catalog.ensure_namespace(&namespace).await.expect("namespace");
        let staff = catalog.create_group("staff").await.expect("group");
        catalog.add_member(staff.id, ann.id).await.expect("member");
        let groups = catalog.groups_of(ann.id).await.expect("groups");
        let maintains =
            Grant { grantee: Grantee::Principal(mel.id), scope: Scope::Namespace(namespace), role: Role::Maintainer };
        catalog.grant(maintains).await.expect("grant");
        let spill = tempfile::tempdir().expect("spill folder");
        let engine =
            Engine::new(options(spill.path()), Arc::clone(&catalog) as Arc<_>, Arc::clone(&lake)).expect("engine");
        let ann = Caller::from(Identity { groups, ..Identity::from(ann) });
        Self { engine, catalog, lake, owner: owns.clone().into(), owns, ann, mel: mel.into(), _spill: spill }
    }

    /// A public dataset with these rows, a version for each batch.
    pub(crate) async fn table(&self, name: &str, columns: &[Column], batches: &[RecordBatch]) -> DatasetId {
        let name = name.parse::<DatasetName>().expect("name");
        let new = NewDataset { visibility: Visibility::Public, ..NewDataset::root(name, columns.to_vec()) };
        let id = new.id;
        self.lake.create(id, columns).await.expect("table");
        self.catalog.create_dataset(new, self.owns.id).await.expect("dataset");
        for batch in batches {
            self.append(id, batch).await;
        }
        id
    }

    pub(crate) async fn append(&self, id: DatasetId, batch: &RecordBatch) {
        let table = self.lake.table(id).await.expect("table");
        let Begin::New(mut append) = table.begin(None).await.expect("begins") else { unreachable!("no key was used") };
        append.write(batch).await.expect("written");
        append.commit(None).await.expect("committed");
    }

    /// Adds columns to table and catalog.
    pub(crate) async fn extend(&self, id: DatasetId, columns: &[Column]) {
        let table = self.lake.table(id).await.expect("table");
        let snapshot = table.add_columns(columns.to_vec()).await.expect("altered");
        let known = lakegate_catalog::ColumnsAt { version: snapshot.version(), columns: snapshot.columns().to_vec() };
        let change = DatasetChange { columns: Some(known), ..DatasetChange::default() };
        self.catalog.update_dataset(id, change).await.expect("changed");
    }

    pub(crate) async fn guard(&self, id: DatasetId, policy: Policy) {
        let change = DatasetChange { policy: Some(policy), ..DatasetChange::default() };
        self.catalog.update_dataset(id, change).await.expect("changed");
    }

    pub(crate) async fn batches(&self, caller: &Caller, asked: QueryRequest) -> Result<Vec<RecordBatch>, QueryError> {
        self.engine.query(caller, asked).await?.try_collect().await
    }

    /// Everything that comes back, but for the time that it took.
    pub(crate) async fn answer(&self, caller: &Caller, asked: QueryRequest) -> Answer {
        let end = asked.sql.rsplit(')').next().unwrap_or_default();
        let ordered = end.contains("ORDER BY") || asked.sql.starts_with("EXPLAIN");
        let answered = async {
            let stream = self.engine.query(caller, asked).await?;
            let schema = format!("{:?} {:?}", stream.schema(), stream.versions());
            let batches: Vec<RecordBatch> = stream.try_collect().await?;
            let text = pretty_format_batches(&batches).expect("printable").to_string();
            let rows = text.lines().filter(|line| line.starts_with('|')).skip(1);
            let mut rows: Vec<String> = rows.map(str::to_owned).collect();
            if !ordered {
                rows.sort();
            }
            Ok(Answer::Rows(schema, rows))
        };
        answered.await.unwrap_or_else(|error: QueryError| {
            Answer::Refused(error.code(), error.position().map(|at| (at.line, at.column)), error.to_string())
        })
    }

    /// The rows as text, cell by cell, or the code of the error.
    pub(crate) async fn cells(&self, caller: &Caller, sql: &str) -> String {
        match self.answer(caller, request(sql)).await {
            Answer::Rows(_, rows) => {
                let cells = |row: &String| {
                    row.split('|').map(str::trim).filter(|c| !c.is_empty()).collect::<Vec<_>>().join(",")
                };
                rows.iter().map(cells).collect::<Vec<_>>().join(" ")
            }
            Answer::Refused(code, ..) => code.to_owned(),
        }
    }
}

/// A policy of a filter and masks; a mask without an expression hides its column.
pub(crate) fn policy(row_filter: Option<&str>, masks: &[(&str, Option<&str>)]) -> Policy {
    let mask = |sql: &Option<&str>| sql.map_or(Mask::Hidden, |sql| Mask::Expression(sql.to_owned()));
    let masks = masks.iter().map(|(column, sql)| ((*column).to_owned(), mask(sql))).collect();
    Policy { row_filter: row_filter.map(str::to_owned), masks }
}
