//! The tables, and how an older database becomes a current one.

use std::time::Duration;

use crate::database::{Database, Tx};
use crate::error::{ConnectError, Failure};
use crate::row::int;

/// The version of the schema that this crate reads and writes.
pub const SCHEMA_VERSION: i64 = MIGRATIONS.len() as i64;

/// The statements that lead from version *i* to *i + 1*. Never change one that was released: add another.
///
/// Times are microseconds since 1970 in UTC; ids are UUIDs as text; roles are 1 reader, 2 writer, 3 maintainer,
/// 4 owner, so that the highest is the maximum.
const MIGRATIONS: &[&[&str]] = &[
    &[
        // One row. Whoever changes the set of instance owners updates it first, and so waits for others who do.
        "CREATE TABLE instance (id BIGINT PRIMARY KEY, changes BIGINT NOT NULL)",
        "INSERT INTO instance (id, changes) VALUES (1, 0)",
        "CREATE TABLE namespaces (name TEXT NOT NULL PRIMARY KEY, created_at BIGINT NOT NULL)",
        "CREATE TABLE principals (
        id TEXT NOT NULL PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        kind TEXT NOT NULL,
        created_at BIGINT NOT NULL
    )",
        "CREATE TABLE tokens (
        id TEXT NOT NULL PRIMARY KEY,
        principal_id TEXT NOT NULL REFERENCES principals (id) ON DELETE CASCADE,
        name TEXT NOT NULL,
        hash TEXT NOT NULL UNIQUE,
        created_at BIGINT NOT NULL,
        expires_at BIGINT
    )",
        "CREATE INDEX tokens_by_principal ON tokens (principal_id)",
        // `name` is namespace.dataset; `columns`, `primary_key` and `geometry` are JSON.
        "CREATE TABLE datasets (
        id TEXT NOT NULL PRIMARY KEY,
        namespace TEXT NOT NULL REFERENCES namespaces (name),
        name TEXT NOT NULL UNIQUE,
        kind TEXT NOT NULL,
        columns TEXT NOT NULL,
        primary_key TEXT NOT NULL,
        merge TEXT NOT NULL,
        event_time TEXT,
        geometry TEXT,
        visibility TEXT NOT NULL,
        description TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL
    )",
        "CREATE INDEX datasets_by_namespace ON datasets (namespace, name)",
        // `scope` is `instance`, `namespace:NAME` or `dataset:ID`; the same again as a reference, so that a grant
        // goes when its dataset goes.
        "CREATE TABLE grants (
        principal_id TEXT NOT NULL REFERENCES principals (id) ON DELETE CASCADE,
        scope TEXT NOT NULL,
        namespace TEXT REFERENCES namespaces (name),
        dataset_id TEXT REFERENCES datasets (id) ON DELETE CASCADE,
        role BIGINT NOT NULL,
        PRIMARY KEY (principal_id, scope)
    )",
        "CREATE INDEX grants_by_scope ON grants (scope)",
        "CREATE INDEX grants_by_dataset ON grants (dataset_id)",
        "CREATE TABLE tombstones (dataset_id TEXT NOT NULL PRIMARY KEY, deleted_at BIGINT NOT NULL)",
    ],
    &[
        // Which lake holds the tables; NULL until one does.
        "ALTER TABLE instance ADD COLUMN lake_id TEXT",
    ],
    &[
        // Owners were 3; the role maintainer came in between.
        "UPDATE grants SET role = 4 WHERE role = 3",
    ],
    &[
        // What the gateways sign with, in hexadecimal digits; NULL until the first one starts.
        "ALTER TABLE instance ADD COLUMN signing_key TEXT",
        // The version of the table that `columns` are from.
        "ALTER TABLE datasets ADD COLUMN schema_version BIGINT NOT NULL DEFAULT 0",
    ],
    &[
        "CREATE TABLE principal_groups (
        id TEXT NOT NULL PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        created_at BIGINT NOT NULL
    )",
        "CREATE TABLE group_members (
        group_id TEXT NOT NULL REFERENCES principal_groups (id) ON DELETE CASCADE,
        principal_id TEXT NOT NULL REFERENCES principals (id) ON DELETE CASCADE,
        PRIMARY KEY (group_id, principal_id)
    )",
        "CREATE INDEX group_members_by_principal ON group_members (principal_id)",
        // Who a principal is to an issuer of tokens.
        "CREATE TABLE external_ids (
        issuer TEXT NOT NULL,
        subject TEXT NOT NULL,
        principal_id TEXT NOT NULL REFERENCES principals (id) ON DELETE CASCADE,
        PRIMARY KEY (issuer, subject)
    )",
        "CREATE INDEX external_ids_by_principal ON external_ids (principal_id)",
        // The argon2id hash in PHC form; NULL for who has no password.
        "ALTER TABLE principals ADD COLUMN password TEXT",
        // Wrong passwords by name, whether or not somebody has it.
        "CREATE TABLE login_failures (
        name TEXT NOT NULL PRIMARY KEY,
        failures BIGINT NOT NULL,
        locked_until BIGINT,
        last_at BIGINT NOT NULL
    )",
        "CREATE INDEX login_failures_by_age ON login_failures (last_at)",
        // JSON; NULL for no limits, for no policy.
        "ALTER TABLE tokens ADD COLUMN scope TEXT",
        "ALTER TABLE datasets ADD COLUMN policy TEXT",
        // `grantee` is the id of a principal or a group, or `public`; the same again as a reference, so that a grant
        // goes with who had it.
        "ALTER TABLE grants RENAME TO grants_of_principals",
        "CREATE TABLE grants (
        grantee TEXT NOT NULL,
        principal_id TEXT REFERENCES principals (id) ON DELETE CASCADE,
        group_id TEXT REFERENCES principal_groups (id) ON DELETE CASCADE,
        scope TEXT NOT NULL,
        namespace TEXT REFERENCES namespaces (name),
        dataset_id TEXT REFERENCES datasets (id) ON DELETE CASCADE,
        role BIGINT NOT NULL,
        PRIMARY KEY (grantee, scope)
    )",
        "INSERT INTO grants (grantee, principal_id, scope, namespace, dataset_id, role)
         SELECT principal_id, principal_id, scope, namespace, dataset_id, role FROM grants_of_principals",
        "DROP TABLE grants_of_principals",
        "CREATE INDEX grants_by_scope ON grants (scope)",
        "CREATE INDEX grants_by_namespace ON grants (namespace)",
        "CREATE INDEX grants_by_dataset ON grants (dataset_id)",
        "CREATE INDEX grants_by_principal ON grants (principal_id)",
        "CREATE INDEX grants_by_group ON grants (group_id)",
    ],
    &[
        // One row: the id of the last event. Whoever tells of a change updates it last in the transaction.
        "CREATE TABLE event_counter (last BIGINT NOT NULL)",
        "INSERT INTO event_counter (last) VALUES (0)",
        // `change` is JSON.
        "CREATE TABLE events (id BIGINT NOT NULL PRIMARY KEY, at BIGINT NOT NULL, change TEXT NOT NULL)",
        "CREATE INDEX events_by_age ON events (at)",
    ],
    &[
        // `entry` is JSON. No references: an entry outlives what it is about.
        "CREATE TABLE audit (id TEXT NOT NULL PRIMARY KEY, at BIGINT NOT NULL, principal_id TEXT, entry TEXT NOT NULL)",
        "CREATE INDEX audit_by_age ON audit (at)",
        "CREATE INDEX audit_by_principal ON audit (principal_id, id)",
        "CREATE TABLE audited_queries (
        id TEXT NOT NULL PRIMARY KEY,
        at BIGINT NOT NULL,
        principal_id TEXT,
        entry TEXT NOT NULL
    )",
        "CREATE INDEX audited_queries_by_age ON audited_queries (at)",
        "CREATE INDEX audited_queries_by_principal ON audited_queries (principal_id, id)",
        // `live_key` is NULL once the job has ended; `params`, `labels`, `subject`, `progress`, `result` and `error` are
        // JSON; `keep_for` is in microseconds. No references: a job outlives who asked for it and what it is about.
        "CREATE TABLE jobs (
        id TEXT NOT NULL PRIMARY KEY,
        kind TEXT NOT NULL,
        tenant TEXT NOT NULL,
        live_key TEXT UNIQUE,
        priority BIGINT NOT NULL,
        params TEXT NOT NULL,
        labels TEXT NOT NULL,
        principal_id TEXT,
        dataset_id TEXT,
        subject TEXT,
        state TEXT NOT NULL,
        attempts BIGINT NOT NULL,
        max_attempts BIGINT NOT NULL,
        fence BIGINT NOT NULL,
        worker TEXT,
        lease_until BIGINT,
        cancelled BIGINT NOT NULL,
        progress TEXT,
        result TEXT,
        error TEXT,
        log_lines BIGINT NOT NULL,
        keep_for BIGINT NOT NULL,
        created_at BIGINT NOT NULL,
        run_after BIGINT NOT NULL,
        started_at BIGINT,
        ended_at BIGINT,
        expires_at BIGINT
    )",
        "CREATE INDEX jobs_to_claim ON jobs (state, priority DESC, id)",
        "CREATE INDEX jobs_by_lease ON jobs (state, lease_until)",
        "CREATE INDEX jobs_by_tenant ON jobs (tenant, state)",
        "CREATE INDEX jobs_by_principal ON jobs (principal_id, id)",
        "CREATE INDEX jobs_by_dataset ON jobs (dataset_id, id)",
        "CREATE INDEX jobs_by_expiry ON jobs (expires_at)",
        // `label` is `name=word`.
        "CREATE TABLE job_labels (
        job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
        label TEXT NOT NULL,
        PRIMARY KEY (job_id, label)
    )",
        "CREATE INDEX job_labels_by_label ON job_labels (label, job_id)",
        "CREATE TABLE job_log (
        job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
        n BIGINT NOT NULL,
        at BIGINT NOT NULL,
        line TEXT NOT NULL,
        PRIMARY KEY (job_id, n)
    )",
        // Whoever claims a job of a tenant updates its row first, and so waits for others who do.
        "CREATE TABLE job_tenants (tenant TEXT NOT NULL PRIMARY KEY, claims BIGINT NOT NULL)",
    ],
    &[
        // Bytes of what may be long of a record, by which pages are cut.
        "ALTER TABLE datasets ADD COLUMN size BIGINT NOT NULL DEFAULT 0",
        "UPDATE datasets SET size = LENGTH(columns) + LENGTH(description) + COALESCE(LENGTH(policy), 0)",
        "ALTER TABLE jobs ADD COLUMN size BIGINT NOT NULL DEFAULT 0",
        "UPDATE jobs SET size = LENGTH(params) + COALESCE(LENGTH(result), 0)",
    ],
];

/// How long a database may take to be brought up to date. Another process that does it is waited for as long on PostgreSQL; on
/// SQLite as long as for any other that writes.
const LONGEST: Duration = Duration::from_secs(3_600);

/// Brings the database up to [`SCHEMA_VERSION`] in one transaction, or leaves it as it is. A SQLite file that is
/// older is copied beside itself first.
pub(crate) async fn migrate(database: &Database) -> Result<(), ConnectError> {
    let mut tx = database.within(database.begin()).await?;
    let upgraded = async {
        if let Some(lock) = database.dialect().lock_schema(LONGEST) {
            tx.execute_ddl(lock).await?;
        }
        let found = version(&mut tx).await?;
        if found < SCHEMA_VERSION {
            if found > 0 {
                // Others still read the old version while this transaction holds the right to write.
                database.keep_copy(found).await?;
            }
            upgrade(&mut tx, database, found).await?;
            tx.commit().await?;
        }
        Ok(found)
    };
    let found = tokio::time::timeout(LONGEST, upgraded).await.unwrap_or(Err(Failure::Late))?;
    if found > SCHEMA_VERSION { Err(ConnectError::TooNew { found }) } else { Ok(()) }
}

/// The version in the database; 0 for a new one.
async fn version(tx: &mut Tx) -> Result<i64, Failure> {
    tx.execute("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)", []).await?;
    match tx.fetch("SELECT version FROM schema_version", []).await?.first() {
        Some(row) => row.int(0),
        None => Ok(0),
    }
}

async fn upgrade(tx: &mut Tx, database: &Database, from: i64) -> Result<(), Failure> {
    tracing::info!(from, to = SCHEMA_VERSION, "catalog schema is brought up to date");
    let done = usize::try_from(from).unwrap_or_default();
    for statement in MIGRATIONS.iter().skip(done).copied().flatten() {
        tx.execute_ddl(database.dialect().ddl(statement)).await?;
    }
    tx.execute("DELETE FROM schema_version", []).await?;
    tx.execute("INSERT INTO schema_version (version) VALUES ($1)", [int(SCHEMA_VERSION)]).await?;
    Ok(())
}
