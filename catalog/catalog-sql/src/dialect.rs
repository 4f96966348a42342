//! The few differences between SQLite and PostgreSQL.
//!
//! All else is common to both: `$1` parameters, `ON CONFLICT`, foreign keys, `BIGINT` and `TEXT`.

use std::time::Duration;

/// Which database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// SQLite, in a file.
    Sqlite,
    /// PostgreSQL.
    Postgres,
}

/// Any number that no other program is likely to lock on.
const MIGRATION_LOCK: i64 = 0x6c61_6b65_6761_7465;

/// The job that comes next at the time `$1`, of the kinds `$2`, of a tenant with less than `$3` running, and its tenant.
macro_rules! next_job {
    ($lock:literal) => {
        concat!(
            "SELECT id, tenant FROM jobs WHERE state = 'waiting' AND run_after <= $1 AND $2 LIKE '%,' || kind || ',%'
                 AND tenant NOT IN (SELECT tenant FROM jobs WHERE state = 'running' GROUP BY tenant HAVING COUNT(*) >= $3)
             ORDER BY priority DESC, id LIMIT 1",
            $lock
        )
    };
}

/// The job that comes next, without taking it.
pub(crate) const NEXT_JOB: &str = next_job!("");

impl Dialect {
    /// Begins a transaction that writes. SQLite takes its one write lock now, so that what the transaction
    /// checks cannot change before it writes; PostgreSQL sees what others committed before each statement,
    /// and row locks do the rest.
    pub(crate) fn begin(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgres => "BEGIN ISOLATION LEVEL READ COMMITTED",
        }
    }

    /// Begins a transaction that claims a job. There PostgreSQL reads a few rows in the order of an index, never all that match
    /// to sort them, as it would of tables that it has no statistics of yet; and such reads leave marks at entries of rows
    /// that are gone, so that the next do not look at them again.
    pub(crate) fn begin_claim(self) -> &'static str {
        match self {
            Self::Sqlite => self.begin(),
            Self::Postgres => "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL enable_bitmapscan = off",
        }
    }

    /// What makes a migration wait for another process that migrates, and lets its statements take this long. On SQLite the
    /// write lock does.
    pub(crate) fn lock_schema(self, within: Duration) -> Option<String> {
        let millis = within.as_millis();
        match self {
            Self::Sqlite => None,
            Self::Postgres => Some(format!(
                "SET LOCAL statement_timeout = {millis}; SET LOCAL idle_in_transaction_session_timeout = {millis};
                 SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"
            )),
        }
    }

    /// A statement of the schema. Text compares by bytes in SQLite; PostgreSQL must be told, else the order of
    /// a list would depend on how the server was set up.
    pub(crate) fn ddl(self, statement: &str) -> String {
        match self {
            Self::Sqlite => statement.to_owned(),
            Self::Postgres => statement.replace(" TEXT", " TEXT COLLATE \"C\""),
        }
    }

    /// Settings of a PostgreSQL session: the server ends what the client has given up on.
    pub(crate) fn session(timeout: Duration) -> [(&'static str, String); 2] {
        let millis = format!("{}ms", timeout.as_millis().max(1));
        [("statement_timeout", millis.clone()), ("idle_in_transaction_session_timeout", millis)]
    }

    /// The job that comes next, kept from other claims until the transaction ends: each of several at once gets another. On
    /// SQLite there is one at a time.
    pub(crate) fn next_job(self) -> &'static str {
        match self {
            Self::Sqlite => NEXT_JOB,
            Self::Postgres => next_job!(" FOR UPDATE SKIP LOCKED"),
        }
    }

    /// The time by the database, as microseconds since 1970. Transactions of PostgreSQL have one time of their own, this one
    /// goes on in them.
    pub(crate) fn clock(self) -> &'static str {
        match self {
            Self::Sqlite => "SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
            Self::Postgres => "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)",
        }
    }

    /// Where PostgreSQL tells other processes of events.
    pub(crate) const CHANNEL: &str = "lakegate_events";

    /// What tells other processes, once the transaction is committed: of SQLite there are none.
    pub(crate) fn notify(self) -> Option<&'static str> {
        match self {
            Self::Sqlite => None,
            Self::Postgres => Some("SELECT pg_notify($1, '')"),
        }
    }

    /// Copies a SQLite database, as a reader sees it, into a file that must not exist.
    pub(crate) const COPY: &str = "VACUUM INTO $1";

    /// The version of a PostgreSQL server, as a number.
    pub(crate) const SERVER: &str = "SELECT current_setting('server_version_num')::BIGINT";

    /// The first version of PostgreSQL that this is made for, as that number.
    pub(crate) const OLDEST_SERVER: i64 = 140_000;

    /// How often whoever waits for an event looks by itself: PostgreSQL tells, SQLite tells this process alone.
    pub(crate) fn looks_every(self) -> Duration {
        match self {
            Self::Sqlite => Duration::from_millis(250),
            Self::Postgres => Duration::from_secs(1),
        }
    }

    /// Whether the transaction failed only because another one came between, and may succeed when it is
    /// run again: its checks then see what the other did.
    pub(crate) fn is_passing(self, error: &sqlx::Error) -> bool {
        let Some(error) = error.as_database_error() else {
            return false;
        };
        let code = error.code();
        let conflict = matches!(code.as_deref(), Some("40001" | "40P01"));
        self == Self::Postgres && (conflict || error.is_foreign_key_violation() || error.is_unique_violation())
    }

    /// Whether another process has the SQLite file for itself. Codes with more in their upper bits
    /// (recovery, snapshot) say the same.
    pub(crate) fn is_busy(error: &sqlx::Error) -> bool {
        const SQLITE_BUSY: u32 = 5;
        let code = error
            .as_database_error()
            .and_then(sqlx::error::DatabaseError::code)
            .and_then(|code| code.parse::<u32>().ok());
        code.is_some_and(|code| code & 0xff == SQLITE_BUSY)
    }

    /// Whether a value is not fit for the database, whenever it is sent: a `data exception` of PostgreSQL, such as a text with
    /// NUL.
    pub(crate) fn is_unfit(error: &sqlx::Error) -> bool {
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        code.is_some_and(|code| code.len() == 5 && code.starts_with("22"))
    }

    /// Whether the disk of the database has no room: SQLITE_FULL, or `disk_full` of PostgreSQL.
    pub(crate) fn is_full(error: &sqlx::Error) -> bool {
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        matches!(code.as_deref(), Some("13" | "53100"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn want_of_room_is_told_from_other_failures() -> Result<(), sqlx::Error> {
        use sqlx::{Connection as _, Executor as _};
        let mut database = sqlx::SqliteConnection::connect("sqlite::memory:").await?;
        database.execute("CREATE TABLE t (text TEXT); PRAGMA max_page_count = 3").await?;
        let grow = "INSERT INTO t VALUES (hex(zeroblob(100000)))";
        assert!(Dialect::is_full(&database.execute(grow).await.expect_err("full")));
        assert!(!Dialect::is_full(&database.execute("INSERT INTO u VALUES (1)").await.expect_err("no table")));
        Ok(())
    }
}
