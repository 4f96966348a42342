//! Connections, deadlines, transactions and retries, alike for both databases.

use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection as _, PgPool, Postgres, Sqlite, SqlitePool, Transaction};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::SqlOptions;
use crate::dialect::Dialect;
use crate::error::{ConnectError, Failure};
use crate::row::{Arg, Row, bound, corrupt, text};

/// Connections on top, for [`listen`].
const LISTENING: u32 = 1;

/// An open database. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Database {
    pools: Pools,
    timeout: Duration,
    /// Woken when something was written, here or, where the database says so, elsewhere.
    written: Arc<Notify>,
}

#[derive(Clone)]
enum Pools {
    /// SQLite lets one connection write at a time: with a single writer, writes queue here, in order,
    /// instead of polling for the file's lock.
    Sqlite {
        writer: SqlitePool,
        readers: SqlitePool,
        path: PathBuf,
    },
    Postgres(PgPool),
}

impl Database {
    pub(crate) async fn connect(url: &str, options: &SqlOptions) -> Result<Self, ConnectError> {
        let pools = match url.strip_prefix("sqlite:") {
            Some(path) => connect_sqlite(path, options).await?,
            None if url.starts_with("postgres://") || url.starts_with("postgresql://") => {
                connect_postgres(url, options).await?
            }
            None => return Err(ConnectError::Url("it starts with something else".to_owned())),
        };
        let written = Arc::new(Notify::new());
        if let Pools::Postgres(pool) = &pools {
            tokio::spawn(listen(pool.clone(), Arc::clone(&written)));
        }
        Ok(Self { pools, timeout: options.timeout, written })
    }

    /// Ends when something has been written since it was polled or enabled.
    pub(crate) fn woken(&self) -> Notified<'_> {
        self.written.notified()
    }

    /// A transaction was committed.
    pub(crate) fn wake(&self) {
        self.written.notify_waiters();
    }

    pub(crate) fn dialect(&self) -> Dialect {
        match self.pools {
            Pools::Sqlite { .. } => Dialect::Sqlite,
            Pools::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Ends the work with a failure when it takes longer than one call may.
    pub(crate) async fn within<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        tokio::time::timeout(self.timeout, work).await.unwrap_or(Err(Failure::Late))
    }

    /// The rows of one statement that reads.
    pub(crate) async fn fetch(
        &self,
        sql: &'static str,
        args: impl IntoIterator<Item = Arg>,
    ) -> Result<Vec<Row>, Failure> {
        self.within(async {
            Ok(match &self.pools {
                Pools::Sqlite { readers, .. } => {
                    let rows = bound::<Sqlite>(sql, args).fetch_all(readers).await?;
                    rows.into_iter().map(Row::Sqlite).collect()
                }
                Pools::Postgres(pool) => {
                    let rows = bound::<Postgres>(sql, args).fetch_all(pool).await?;
                    rows.into_iter().map(Row::Postgres).collect()
                }
            })
        })
        .await
    }

    /// The first row of one statement that reads.
    pub(crate) async fn fetch_first(
        &self,
        sql: &'static str,
        args: impl IntoIterator<Item = Arg>,
    ) -> Result<Option<Row>, Failure> {
        Ok(self.fetch(sql, args).await?.into_iter().next())
    }

    /// The time by the database.
    pub(crate) async fn clock(&self) -> Result<DateTime<Utc>, Failure> {
        let row = self.fetch_first(self.dialect().clock(), []).await?;
        row.ok_or_else(|| corrupt(&"no time"))?.time(0)
    }

    /// A transaction that writes; it is undone unless it is committed. See [`in_transaction`].
    pub(crate) async fn begin(&self) -> Result<Tx, Failure> {
        self.begin_with(self.dialect().begin()).await
    }

    /// A transaction that claims a job.
    pub(crate) async fn begin_claim(&self) -> Result<Tx, Failure> {
        self.begin_with(self.dialect().begin_claim()).await
    }

    async fn begin_with(&self, begin: &'static str) -> Result<Tx, Failure> {
        Ok(match &self.pools {
            Pools::Sqlite { writer, .. } => Tx::Sqlite(match writer.begin_with(begin).await {
                // On a full disk SQLite ends a transaction by itself, and sqlx cannot end it again: to it one is open for
                // ever. Another connection has none.
                Err(sqlx::Error::InvalidSavePointStatement) => {
                    writer.acquire().await?.close().await?;
                    writer.begin_with(begin).await?
                }
                begun => begun?,
            }),
            Pools::Postgres(pool) => Tx::Postgres(pool.begin_with(begin).await?),
        })
    }

    /// Whether to run a failed transaction again. Waits a little first, longer each time.
    pub(crate) async fn try_again(&self, failure: &Failure, tries: u32) -> bool {
        const MAX_TRIES: u32 = 6;
        let passing = match failure {
            Failure::Database(error) => self.dialect().is_passing(error),
            Failure::Passed => true,
            Failure::Catalog(_) | Failure::Late => false,
        };
        if !passing || tries >= MAX_TRIES {
            return false;
        }
        tracing::debug!(tries, ?failure, "catalog transaction runs again");
        tokio::time::sleep(Duration::from_millis(2 << tries)).await;
        true
    }

    /// Copies a SQLite file, as its readers see it, to `<file>.v<version>` beside it, so that an older program can
    /// be gone back to. Whole or not at all. PostgreSQL is copied by those who run it.
    pub(crate) async fn keep_copy(&self, version: i64) -> Result<(), Failure> {
        let Pools::Sqlite { readers, path, .. } = &self.pools else {
            return Ok(());
        };
        let named = |ending: String| {
            let mut name = path.clone().into_os_string();
            name.push(ending);
            PathBuf::from(name)
        };
        let (begun, kept) = (named(format!(".v{version}.{}", uuid::Uuid::new_v4())), named(format!(".v{version}")));
        remove_abandoned(&kept).await;
        let copy = async {
            sqlx::query(Dialect::COPY).bind(begun.to_string_lossy().into_owned()).execute(readers).await?;
            let finish = async {
                tokio::fs::OpenOptions::new().write(true).open(&begun).await?.sync_all().await?;
                tokio::fs::rename(&begun, &kept).await
            };
            finish.await.map_err(sqlx::Error::Io)
        };
        let copied = copy.await;
        if copied.is_err() {
            // Half a copy is none; of a full disk it holds the last room.
            let _ = tokio::fs::remove_file(&begun).await;
        }
        copied?;
        tracing::info!(copy = %kept.display(), "the catalog was copied before its schema is brought up to date");
        Ok(())
    }

    pub(crate) async fn close(&self) {
        match &self.pools {
            Pools::Sqlite { writer, readers, .. } => {
                readers.close().await;
                writer.close().await;
            }
            Pools::Postgres(pool) => pool.close().await,
        }
    }
}

/// Runs `$work`, a call that gets `&mut $tx` and may be repeated, in a transaction that writes: all of it or
/// nothing, at most a few times, each time within the deadline. `begin`, or `$begin`, begins it. A macro, because a
/// closure that returns a future borrowing its argument cannot be said to be `Send`.
macro_rules! in_transaction {
    ($database:expr, |$tx:ident| $work:expr) => {
        in_transaction!($database, begin, |$tx| $work)
    };
    ($database:expr, $begin:ident, |$tx:ident| $work:expr) => {{
        let mut tries = 0;
        loop {
            let outcome = $database
                .within(async {
                    let mut $tx = $database.$begin().await?;
                    let done = $work.await?;
                    $tx.commit().await?;
                    $database.wake();
                    Ok(done)
                })
                .await;
            tries += 1;
            match outcome {
                Err(failure) if $database.try_again(&failure, tries).await => {}
                outcome => break Ok(outcome?),
            }
        }
    }};
}
pub(crate) use in_transaction;

/// A transaction that writes.
pub(crate) enum Tx {
    /// On SQLite.
    Sqlite(Transaction<'static, Sqlite>),
    /// On PostgreSQL.
    Postgres(Transaction<'static, Postgres>),
}

impl Tx {
    pub(crate) fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
        }
    }

    /// The time by the database.
    pub(crate) async fn clock(&mut self) -> Result<DateTime<Utc>, Failure> {
        let rows = self.fetch(self.dialect().clock(), []).await?;
        rows.first().ok_or_else(|| corrupt(&"no time"))?.time(0)
    }

    /// Runs a statement; answers the number of rows it changed.
    pub(crate) async fn execute(
        &mut self,
        sql: &'static str,
        args: impl IntoIterator<Item = Arg>,
    ) -> Result<u64, Failure> {
        Ok(match self {
            Self::Sqlite(tx) => bound::<Sqlite>(sql, args).execute(&mut **tx).await?.rows_affected(),
            Self::Postgres(tx) => bound::<Postgres>(sql, args).execute(&mut **tx).await?.rows_affected(),
        })
    }

    /// Runs a statement of the schema, made for the dialect.
    pub(crate) async fn execute_ddl(&mut self, sql: String) -> Result<(), Failure> {
        let sql = sqlx::AssertSqlSafe(sql);
        match self {
            Self::Sqlite(tx) => sqlx::raw_sql(sql).execute(&mut **tx).await.map(|_| ())?,
            Self::Postgres(tx) => sqlx::raw_sql(sql).execute(&mut **tx).await.map(|_| ())?,
        }
        Ok(())
    }

    pub(crate) async fn fetch(
        &mut self,
        sql: &'static str,
        args: impl IntoIterator<Item = Arg>,
    ) -> Result<Vec<Row>, Failure> {
        Ok(match self {
            Self::Sqlite(tx) => {
                bound::<Sqlite>(sql, args).fetch_all(&mut **tx).await?.into_iter().map(Row::Sqlite).collect()
            }
            Self::Postgres(tx) => {
                bound::<Postgres>(sql, args).fetch_all(&mut **tx).await?.into_iter().map(Row::Postgres).collect()
            }
        })
    }

    /// Lets other processes know, once this is committed.
    pub(crate) async fn notify(&mut self) -> Result<(), Failure> {
        if let Some(sql) = self.dialect().notify() {
            self.fetch(sql, [text(&Dialect::CHANNEL)]).await?;
        }
        Ok(())
    }

    /// Whether the statement finds any row.
    pub(crate) async fn finds(
        &mut self,
        sql: &'static str,
        args: impl IntoIterator<Item = Arg>,
    ) -> Result<bool, Failure> {
        Ok(!self.fetch(sql, args).await?.is_empty())
    }

    pub(crate) async fn commit(self) -> Result<(), Failure> {
        match self {
            Self::Sqlite(tx) => tx.commit().await?,
            Self::Postgres(tx) => tx.commit().await?,
        }
        Ok(())
    }
}

/// Passes on what other processes tell, until the pool is closed. While it cannot listen, those who wait look by
/// themselves.
async fn listen(pool: PgPool, written: Arc<Notify>) {
    while !pool.is_closed() {
        let heard = async {
            let mut listener = PgListener::connect_with(&pool).await?;
            listener.listen(Dialect::CHANNEL).await?;
            loop {
                listener.recv().await?;
                written.notify_waiters();
            }
        };
        let Err::<std::convert::Infallible, sqlx::Error>(error) = heard.await;
        tracing::debug!(%error, "the catalog's database is not listened to");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn connect_sqlite(path: &str, options: &SqlOptions) -> Result<Pools, ConnectError> {
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.is_empty() || path.starts_with(':') {
        return Err(ConnectError::Url("after `sqlite:` it needs the path of a file".to_owned()));
    }
    // A relative path with a folder in front, so that SQLite never takes it for a `file:` URI.
    let path = Path::new(".").join(path);
    let base = SqliteConnectOptions::new().filename(&path).foreign_keys(true).busy_timeout(options.timeout);
    let write = base
        .clone()
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // A commit is on disk before it is answered, also when the machine loses power.
        .synchronous(SqliteSynchronous::Full);
    let pool = || SqlitePoolOptions::new().acquire_timeout(options.timeout).max_lifetime(None).idle_timeout(None);
    let open = async |pool: SqlitePoolOptions, how: SqliteConnectOptions| {
        let mut tries = 0;
        loop {
            match pool.clone().connect_with(how.clone()).await {
                Err(sqlx::Error::PoolTimedOut) => break Err(ConnectError::Late),
                // Several processes open one new file: turning it to WAL needs the file alone, and SQLite does
                // not wait for that as it waits for every other lock.
                Err(error) if Dialect::is_busy(&error) => {
                    tries += 1;
                    tokio::time::sleep(Duration::from_millis(5) * tries.min(20)).await;
                }
                outcome => break Ok(outcome?),
            }
        }
    };
    let both = async {
        let writer = open(pool().max_connections(1), write).await?;
        let readers = open(pool().max_connections(options.max_connections.max(1)), base.read_only(true)).await?;
        Ok(Pools::Sqlite { writer, readers, path })
    };
    tokio::time::timeout(options.timeout, both).await.unwrap_or(Err(ConnectError::Late))
}

/// Removes copies that another start began, `<kept>.<uuid>`, and was ended in.
async fn remove_abandoned(kept: &Path) {
    let (Some(folder), Some(name)) = (kept.parent(), kept.file_name()) else { return };
    let prefix = format!("{}.", name.to_string_lossy());
    let Ok(mut there) = tokio::fs::read_dir(folder).await else { return };
    while let Ok(Some(entry)) = there.next_entry().await {
        let file = entry.file_name().to_string_lossy().into_owned();
        let begun = file.strip_prefix(&prefix).is_some_and(|rest| uuid::Uuid::parse_str(rest).is_ok());
        if begun && let Err(error) = tokio::fs::remove_file(entry.path()).await {
            tracing::warn!(file, %error, "half a copy of the catalog stays");
        }
    }
}

/// Copies a SQLite file, as a reader sees it, into one that must not exist yet.
pub(crate) async fn copy_sqlite(from: &Path, to: &Path) -> Result<(), ConnectError> {
    let options = SqliteConnectOptions::new().filename(from).read_only(true).busy_timeout(Duration::from_secs(10));
    let mut connection = sqlx::SqliteConnection::connect_with(&options).await?;
    sqlx::query(Dialect::COPY).bind(to.to_string_lossy().into_owned()).execute(&mut connection).await?;
    connection.close().await?;
    let synced = async { tokio::fs::OpenOptions::new().write(true).open(to).await?.sync_all().await };
    Ok(synced.await.map_err(sqlx::Error::Io)?)
}

async fn connect_postgres(url: &str, options: &SqlOptions) -> Result<Pools, ConnectError> {
    let server = PgConnectOptions::from_str(url)
        .map_err(|_| ConnectError::Url("it cannot be read".to_owned()))?
        .application_name("lakegate")
        .options(Dialect::session(options.timeout));
    let pool = PgPoolOptions::new()
        .max_connections(options.max_connections.max(1) + LISTENING)
        .acquire_timeout(options.timeout);
    let pool = pool.connect_with(server).await?;
    let found: i64 = sqlx::query_scalar(Dialect::SERVER).fetch_one(&pool).await?;
    if found < Dialect::OLDEST_SERVER { Err(ConnectError::OldServer { found }) } else { Ok(Pools::Postgres(pool)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An acknowledged write survives a loss of power, and references hold: SQLite has both off, or
    /// weaker, unless each connection says otherwise.
    #[tokio::test]
    async fn sqlite_is_durable_and_checks_references() {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite:{}", folder.path().join("a.db").display());
        let database = Database::connect(&url, &SqlOptions::default()).await.expect("it opens");
        let mut tx = database.begin().await.expect("a transaction");
        for (pragma, expected) in [("PRAGMA synchronous", 2), ("PRAGMA foreign_keys", 1)] {
            let rows = tx.fetch(pragma, []).await.expect("answer");
            assert_eq!(rows[0].int(0).expect("a number"), expected, "{pragma}");
        }
        let rows = tx.fetch("PRAGMA journal_mode", []).await.expect("answer");
        assert_eq!(rows[0].text(0).expect("a word"), "wal");
    }
}
