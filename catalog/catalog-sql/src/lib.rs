//! The catalog on SQLite and PostgreSQL: one schema and one SQL text for both.
//!
//! It keeps what `lakegate-catalog` promises and decides nothing itself. It has no SQL of its own for each
//! database: what differs between the two is in `dialect.rs`, and only there.
//!
//! The main type is [`SqlCatalog`]. Reading order: `schema.rs` (tables and migrations), `database.rs`
//! (connections, transactions, retries), then one file per trait.

mod audit;
mod database;
mod datasets;
mod dialect;
mod error;
mod events;
mod grants;
mod groups;
mod jobs;
mod owner;
mod principals;
mod row;
mod schema;

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use lakegate_catalog::{Catalog, DatasetId, InstanceKey, LakeId, NewPrincipal, Principal, Result, TokenHash};

use crate::database::{Database, Tx, in_transaction};
use crate::error::Failure;
use crate::row::{corrupt, text};

pub use error::ConnectError;
pub use schema::SCHEMA_VERSION;

/// How to use the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlOptions {
    /// Connections: all of them on PostgreSQL, those that read on SQLite, where one more writes.
    pub max_connections: u32,
    /// How long one call may take, waiting for a connection included. A call that takes longer fails as
    /// unavailable; a write that fails so may have been made.
    pub timeout: Duration,
}

impl Default for SqlOptions {
    fn default() -> Self {
        Self { max_connections: 8, timeout: Duration::from_secs(10) }
    }
}

/// A [`Catalog`] on SQLite or PostgreSQL. Cheap to clone; all clones share their connections.
#[derive(Clone)]
pub struct SqlCatalog {
    database: Database,
}

impl SqlCatalog {
    /// Opens the database, creating a SQLite file that does not exist, and brings its schema up to
    /// [`SCHEMA_VERSION`].
    ///
    /// `url` is `sqlite:PATH`, the path taken as it stands, or `postgres://USER:PASSWORD@HOST:PORT/DATABASE`. Any
    /// number of processes may do this at once. Errors: [`ConnectError`]; a database that a newer version
    /// wrote is refused, unchanged.
    pub async fn connect(url: &str, options: &SqlOptions) -> Result<Self, ConnectError> {
        let database = Database::connect(url, options).await?;
        schema::migrate(&database).await?;
        Ok(Self { database })
    }

    /// Copies a SQLite catalog, as it is at one moment, into a new file, also while others write to it. The copy is on
    /// the disk when this returns. The file is not changed, nor is its schema.
    pub async fn copy_file(from: &Path, to: &Path) -> Result<(), ConnectError> {
        database::copy_sqlite(from, to).await
    }

    /// The ids of all datasets, whoever may see them.
    pub async fn dataset_ids(&self) -> Result<Vec<DatasetId>> {
        let rows = self.database.fetch("SELECT id FROM datasets ORDER BY id", []).await?;
        Ok(rows.iter().map(|row| row.parsed(0)).collect::<Result<_, Failure>>()?)
    }
}

#[async_trait]
impl Catalog for SqlCatalog {
    async fn ping(&self) -> Result<()> {
        self.database.fetch("SELECT changes FROM instance", []).await?;
        Ok(())
    }

    /// On SQLite this also folds the write-ahead log into the file.
    async fn close(&self) {
        self.database.close().await;
    }

    async fn create_first_owner(&self, owner: NewPrincipal, token: &TokenHash) -> Result<Option<Principal>> {
        owner.check()?;
        in_transaction!(self.database, |tx| owner::create_first(&mut tx, &owner, token))
    }

    async fn lake(&self) -> Result<Option<LakeId>> {
        let row = self.database.fetch_first("SELECT lake_id FROM instance WHERE lake_id IS NOT NULL", []).await?;
        Ok(row.map(|row| row.parsed(0)).transpose()?)
    }

    async fn remember_lake(&self, lake: LakeId) -> Result<LakeId> {
        in_transaction!(self.database, |tx| remember_lake(&mut tx, lake))
    }

    async fn remember_key(&self, key: InstanceKey) -> Result<InstanceKey> {
        in_transaction!(self.database, |tx| remember_key(&mut tx, key))
    }
}

async fn remember_key(tx: &mut Tx, key: InstanceKey) -> std::result::Result<InstanceKey, Failure> {
    tx.execute("UPDATE instance SET signing_key = $1 WHERE signing_key IS NULL", [text(&key.to_hex())]).await?;
    match tx.fetch("SELECT signing_key FROM instance", []).await?.first() {
        Some(row) => row.parsed(0),
        None => Err(corrupt(&"no row in `instance`")),
    }
}

async fn remember_lake(tx: &mut Tx, lake: LakeId) -> std::result::Result<LakeId, Failure> {
    tx.execute("UPDATE instance SET lake_id = $1 WHERE lake_id IS NULL", [text(&lake)]).await?;
    match tx.fetch("SELECT lake_id FROM instance", []).await?.first() {
        Some(row) => row.parsed(0),
        None => Err(corrupt(&"no row in `instance`")),
    }
}
