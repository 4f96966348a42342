//! What the audit is told of queries, and what `system` shows of it to whom.

use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use chrono::{SubsecRound as _, TimeDelta, Utc};
use futures::{StreamExt as _, TryStreamExt as _};
use lakegate_catalog::{
    Action, Audit as _, AuditAction, AuditEntry, AuditId, Audited, Caller, Decision, Grant, Grantee, Grants as _,
    Identity, Jobs as _, NewJob, NewPrincipal, Principal, PrincipalKind, Principals as _, Protocol, Role, Scope,
    TokenScope,
};
use lakegate_query::QueryRequest;

use crate::house::{House, request};

impl House {
    async fn ask(&self, caller: &Caller, sql: &str) -> Result<String, &'static str> {
        let stream = self.engine.query(caller, request(sql)).await.map_err(|e| e.code())?;
        let batches: Vec<RecordBatch> = stream.try_collect().await.map_err(|e| e.code())?;
        Ok(pretty_format_batches(&batches).expect("printable").to_string())
    }

    /// The cells of an answer: rows with a blank, columns with a comma between them.
    async fn cells(&self, caller: &Caller, sql: &str) -> String {
        let text = self.ask(caller, sql).await.expect(sql);
        let rows = text.lines().filter(|line| line.starts_with('|')).skip(1);
        let row = |line: &str| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>().join(",");
        rows.map(row).collect::<Vec<_>>().join(" ")
    }

    /// What was noted since somebody asked last, in short, and told to the catalog.
    async fn told(&self) -> Vec<String> {
        let taken = self.engine.trail().take_now();
        self.catalog.record(&taken.entries).await.expect("recorded");
        self.catalog.record_queries(&taken.queries).await.expect("recorded");
        taken.entries.iter().map(short).collect()
    }

    async fn principal(&self, name: &str) -> Principal {
        let new = NewPrincipal { name: name.to_owned(), kind: PrincipalKind::User, external: None };
        self.catalog.create_principal(new).await.expect("principal")
    }
}

fn short(entry: &AuditEntry) -> String {
    let by = entry.by.as_ref().map_or("nobody", |by| &by.name);
    let (dataset, version) = (entry.dataset.as_ref().map(ToString::to_string), entry.version);
    let (decision, code) = (entry.decision.as_str(), entry.code.as_deref().unwrap_or("-"));
    let dataset = dataset.unwrap_or_else(|| "-".to_owned());
    format!("{by} {} {dataset} {version:?} {:?} {decision} {code}", entry.protocol.as_str(), entry.rows)
}

#[tokio::test]
async fn each_dataset_that_is_read_is_told_at_the_end() {
    let house = House::new().await;
    let owner = house.owner.clone();
    let asked = QueryRequest {
        id: Some("mine".to_owned()),
        protocol: Protocol::Flight,
        request_id: Some("r-1".to_owned()),
        ..request("SELECT q.id FROM demo.quakes q JOIN demo.secret s ON q.id = s.id")
    };
    let mut stream = house.engine.query(&owner, asked).await.expect("runs");
    assert!(house.engine.trail().take_now().is_empty(), "it has not ended");
    while let Some(batch) = stream.next().await {
        batch.expect("rows");
    }
    let taken = house.engine.trail().take_now();
    assert_eq!(
        taken.entries.iter().map(short).collect::<Vec<_>>(),
        ["owner flight demo.quakes Some(1) Some(3) allowed -", "owner flight demo.secret Some(1) Some(3) allowed -",]
    );
    for entry in &taken.entries {
        assert_eq!(entry.action, AuditAction::Query);
        assert_eq!((entry.query_id.as_deref(), entry.request_id.as_deref()), (Some("mine"), Some("r-1")));
        assert!(entry.dataset_id.is_some() && entry.bytes > Some(0), "{entry:?}");
    }
    let [query] = taken.queries.as_slice() else { panic!("{:?}", taken.queries) };
    assert_eq!((query.query_id.as_str(), query.state.as_str(), query.rows), ("mine", "done", 3));
    assert_eq!(query.versions.len(), 2);
    assert!(query.sql.starts_with("SELECT q.id") && query.code.is_none());
}

#[tokio::test]
async fn what_is_refused_fails_or_is_left_is_told_too() {
    let house = House::new().await;
    for (sql, expected) in [
        ("SELECT * FROM demo.secret", "nobody rest demo.secret None Some(0) denied dataset_not_found"),
        ("SELECT * FROM demo.none", "nobody rest demo.none None Some(0) denied dataset_not_found"),
        ("SELECT 1", "nobody rest - None Some(1) allowed -"),
        ("SELECT 1/0 FROM demo.quakes", "nobody rest demo.quakes Some(1) Some(0) failed evaluation_failed"),
        ("SELECT * FROM demo.quakes@v9", "nobody rest demo.quakes None Some(0) failed version_not_found"),
        ("SELECT count(*) FROM demo.quakes$versions", "nobody rest demo.quakes None Some(1) allowed -"),
        ("SELECT", "nobody rest - None Some(0) failed syntax_error"),
    ] {
        let _ = house.drain(sql).await;
        assert_eq!(house.told().await, [expected], "{sql}");
    }
    drop(house.start(request("SELECT * FROM demo.quakes, generate_series(1, 100000000)")).await.expect("runs"));
    assert_eq!(house.told().await, ["nobody rest demo.quakes Some(1) Some(0) failed query_cancelled"]);
    let bad = house.start(QueryRequest { id: Some("no id".to_owned()), ..request("SELECT 1") }).await;
    assert_eq!(bad.expect_err("refused").code(), "invalid_query_id");
    assert_eq!(house.told().await, ["nobody rest - None None failed invalid_query_id"]);
    // Looking a statement over tells of it only when it is refused: else it will be run.
    house.engine.describe(&Caller::Anonymous, request("SELECT * FROM demo.quakes")).await.expect("described");
    house.engine.describe(&Caller::Anonymous, request("SELECT * FROM demo.secret")).await.expect_err("hidden");
    assert_eq!(house.told().await, ["nobody rest demo.secret None None denied dataset_not_found"]);
}

#[tokio::test]
async fn owners_see_all_others_themselves_and_nobody_nothing() {
    let house = House::new().await;
    let (boss, ann) = (house.principal("boss").await, house.principal("ann").await);
    let grant = Grant { grantee: Grantee::Principal(boss.id), scope: Scope::Instance, role: Role::Owner };
    house.catalog.grant(grant).await.expect("granted");
    let (boss, ann_too) = (Caller::from(boss), Caller::from(ann.clone()));
    for caller in [&boss, &ann_too, &Caller::Anonymous] {
        house.ask(caller, "SELECT id FROM demo.quakes").await.expect("rows");
    }
    house.told().await;
    let mut job = NewJob::new("query", "ann");
    (job.by, job.params) = (Some(ann.id), serde_json::json!({ "secret": 1 }));
    house.catalog.submit_job(job).await.expect("submitted");
    house.catalog.submit_job(NewJob::new("vacuum", "all")).await.expect("submitted");

    let names = "SELECT principal FROM system.audit WHERE dataset = 'demo.quakes' ORDER BY 1";
    let queries = "SELECT count(*) FROM system.queries WHERE sql LIKE '%quakes'";
    let jobs = "SELECT kind, principal_id IS NULL, state FROM system.jobs ORDER BY kind";
    assert_eq!(house.cells(&boss, names).await, "ann boss ");
    assert_eq!(house.cells(&boss, queries).await, "3");
    assert_eq!(house.cells(&boss, jobs).await, "query,false,waiting vacuum,true,waiting");
    assert_eq!(house.cells(&ann_too, names).await, "ann");
    assert_eq!(house.cells(&ann_too, queries).await, "1");
    assert_eq!(house.cells(&ann_too, jobs).await, "query,false,waiting");

    // A token for some datasets is nobody's to the instance, one that is not for reading reads nothing.
    let with = |scope: TokenScope| Caller::from(Identity { scope, ..Identity::from(ann.clone()) });
    let narrow = with(TokenScope { datasets: ["demo.*".parse().expect("a pattern")].into(), ..TokenScope::default() });
    let pushing = with(TokenScope { actions: [Action::Push].into(), ..TokenScope::default() });
    for caller in [&Caller::Anonymous, &narrow] {
        for view in ["audit", "queries", "jobs"] {
            assert_eq!(house.cells(caller, &format!("SELECT count(*) FROM system.{view}")).await, "0", "{view}");
            assert_eq!(house.cells(caller, &format!("SELECT id FROM system.{view}")).await, "", "{view}");
        }
        let tables = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'system'";
        assert_eq!(house.cells(caller, tables).await, "0");
    }
    assert_eq!(house.ask(&pushing, "SELECT * FROM system.audit").await, Err("denied"));
    assert_eq!(house.cells(&ann_too, "SHOW TABLES LIKE 'queries'").await, "system,queries,VIEW");
    let columns = house.cells(&boss, "DESCRIBE system.jobs").await;
    assert!(columns.contains("labels,string,YES") && !columns.contains("params"), "{columns}");
    for (sql, code) in [
        ("SELECT * FROM system.audit@v1", "not_supported"),
        ("SELECT * FROM system.tokens", "dataset_not_found"),
        ("SELECT params FROM system.jobs", "unknown_column"),
    ] {
        assert_eq!(house.ask(&boss, sql).await, Err(code), "{sql}");
    }
}

#[tokio::test]
async fn pages_are_read_as_they_are_asked_for() {
    let house = House::new().await;
    let Some(owner) = house.owner.principal() else { panic!("a principal") };
    let now = Utc::now().trunc_subsecs(6);
    let entry = |n: i64| AuditEntry {
        id: AuditId::generate(),
        at: now - TimeDelta::minutes(2_000 - n),
        rows: u64::try_from(n).ok(),
        ..AuditEntry::new(Protocol::Job, AuditAction::Maintain, Some(Audited::from(owner)))
    };
    let entries: Vec<_> = (0..2_000).map(entry).collect();
    assert!(entries.iter().all(|entry| entry.decision == Decision::Allowed));
    house.catalog.record(&entries).await.expect("recorded");
    for (sql, expected) in [
        ("SELECT count(*), min(rows), max(rows) FROM system.audit", "2000,0,1999"),
        ("SELECT rows FROM system.audit LIMIT 2", "1999 1998"),
        ("SELECT count(*) FROM system.audit WHERE at > now() - INTERVAL '30 minutes 30 seconds'", "30"),
        ("SELECT count(*) FROM system.audit WHERE at BETWEEN now() - INTERVAL '1 hour' AND now()", "59"),
        ("SELECT count(*) FROM system.audit WHERE at < now() - INTERVAL '1000 minutes'", "1001"),
        ("SELECT count(*) FROM system.audit a JOIN system.audit b ON a.id = b.id", "2000"),
        ("SELECT protocol, action, count(*) FROM system.audit GROUP BY 1, 2", "job,maintain,2000"),
    ] {
        assert_eq!(house.cells(&house.owner, sql).await, expected, "{sql}");
    }
    let plan = "EXPLAIN SELECT id FROM system.audit WHERE at > now()";
    assert!(house.ask(&house.owner, plan).await.expect("plans").contains("StreamingTableExec"));
    let zoned = QueryRequest {
        time_zone: Some("Asia/Tokyo".to_owned()),
        ..request("SELECT count(*) AS n FROM system.audit WHERE at > now() - INTERVAL '30 minutes 30 seconds'")
    };
    let rows: Vec<RecordBatch> =
        house.engine.query(&house.owner, zoned).await.expect("runs").try_collect().await.expect("rows");
    assert!(pretty_format_batches(&rows).expect("printable").to_string().contains("| 30 |"));
}
