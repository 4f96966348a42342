//! A push, step by step.
//!
//! One push is one version: the whole body is validated while it streams to a file, and the rows
//! become visible in one commit, or not at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lakegate_catalog::{
    Access, Caller, Catalog, Column, ColumnsAt, Dataset, DatasetChange, DatasetId, DatasetName, NewDataset, Role,
};
use lakegate_lake::{Append, Begin, Committed, Lake, LakeError, PushRecord, Table};
use sha2::{Digest as _, Sha256};
use tracing::Instrument as _;

use crate::TRACE;
use crate::admission::{Admission, Place, Size};
use crate::body::{Body, first_half};
use crate::creation::{abandon, allow_create, check_width, register};
use crate::decode::{Head, write_rows};
use crate::error::{IngestError, Result};
use crate::infer::infer;
use crate::limits::Limits;
use crate::receipt::Receipt;
use crate::turns::Turns;

/// Takes pushes in. One per process: places and turns are shared by all protocols.
pub struct Ingest {
    catalog: Arc<dyn Catalog>,
    lake: Arc<Lake>,
    limits: Limits,
    places: Admission,
    /// Datasets that a push is about to create.
    creating: Turns,
    counts: Counts,
}

/// Pushes since the process began, by how they ended.
#[derive(Debug, Default)]
struct Counts {
    done: AtomicU64,
    duplicate: AtomicU64,
    failed: AtomicU64,
    rows: AtomicU64,
    bytes: AtomicU64,
}

/// What pushes have done since the process began, and do now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PushUsage {
    /// Pushes that run.
    pub running: usize,
    /// Pushes that added rows.
    pub done: u64,
    /// Pushes that were there before.
    pub duplicate: u64,
    /// Pushes that were refused or failed.
    pub failed: u64,
    /// Rows that were added.
    pub rows: u64,
    /// Decoded bytes of bodies.
    pub bytes: u64,
}

/// What is to be pushed, and by whom.
#[derive(Clone, Copy, Debug)]
pub struct Push<'a> {
    /// Who pushes.
    pub caller: &'a Caller,
    /// The dataset.
    pub name: &'a DatasetName,
    /// What to do when it is there, or is not.
    pub create: Create,
    /// The idempotency key: the same key again, with the same body, adds nothing.
    pub key: Option<&'a [u8]>,
}

/// What a push does when its dataset is there, or is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Create {
    /// The dataset must be there.
    Never,
    /// It is created from the body when it is not there.
    IfMissing,
    /// It must not be there and is created from the body.
    New,
    /// It is created from the body, in the place of one that is there.
    Replace,
}

/// What was stored, and where.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The dataset's name.
    pub name: DatasetName,
    /// Its id.
    pub dataset: DatasetId,
    /// The version and the rows.
    pub committed: Committed,
}

impl Stored {
    /// Names what was stored.
    pub fn receipt(&self) -> Receipt {
        Receipt { dataset: self.dataset, version: self.committed.version, rows: self.committed.rows }
    }
}

impl Ingest {
    /// Puts the parts together.
    pub fn new(catalog: Arc<dyn Catalog>, lake: Arc<Lake>, limits: Limits) -> Self {
        let places = Admission::new(&limits);
        Self { catalog, lake, limits, places, creating: Turns::default(), counts: Counts::default() }
    }

    /// Where rows go.
    pub fn lake(&self) -> &Arc<Lake> {
        &self.lake
    }

    /// What a push may use.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What is going on now, and what has been, for metrics.
    pub fn usage(&self) -> PushUsage {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Counts { done, duplicate, failed, rows, bytes } = &self.counts;
        PushUsage {
            running: self.places.running(),
            done: read(done),
            duplicate: read(duplicate),
            failed: read(failed),
            rows: read(rows),
            bytes: read(bytes),
        }
    }

    /// Waits for a place, which a push holds while it runs. Errors: `too_many_pushes`.
    pub async fn admit(&self, caller: &Caller, size: Size) -> Result<Place> {
        self.places.admit(caller, size).await
    }

    /// The table of a dataset that the catalog has answered.
    pub async fn table(&self, dataset: &Dataset) -> Result<Arc<Table>> {
        let opened = self.lake.listed_table(dataset.id, self.catalog.as_ref()).await;
        opened.map_err(IngestError::of(&dataset.name))
    }

    /// Adds the rows of a body to a dataset. Durable and visible when it answers; nothing of it is, when it fails.
    pub async fn push(&self, place: &Place, push: Push<'_>, body: &mut Body<'_>) -> Result<Stored> {
        let stored = self.store(place, push, body).await;
        let add = |count: &AtomicU64, more| count.fetch_add(more, Ordering::Relaxed);
        add(&self.counts.bytes, body.decoded());
        match &stored {
            Ok(stored) if stored.committed.duplicate => add(&self.counts.duplicate, 1),
            Ok(stored) => {
                add(&self.counts.rows, stored.committed.rows);
                add(&self.counts.done, 1)
            }
            Err(_) => add(&self.counts.failed, 1),
        };
        stored
    }

    async fn store(&self, place: &Place, push: Push<'_>, body: &mut Body<'_>) -> Result<Stored> {
        let Push { caller, name, create, key } = push;
        // Pushes that may create the same dataset take turns: the later ones find it and append.
        let turn = match create {
            Create::Never => None,
            _ => Some(self.creating.turn(name, self.limits.timeout).await?),
        };
        let found = self.catalog.access(caller, name).await?;
        let key = key.map(|key| key_hash(caller, key)).transpose()?;
        match create {
            _ if key.is_none() => body.unhashed(),
            // The same key for another thing to do with the same rows is another push.
            Create::New => body.hash_too(b"create"),
            Create::Replace => body.hash_too(b"replace"),
            Create::Never | Create::IfMissing => {}
        }
        let Some(access) = found else {
            if create == Create::Never {
                return Err(IngestError::DatasetNotFound(name.clone()));
            }
            return self.create(place, caller, name, key, body).await;
        };
        let (role, doing) = match create {
            Create::Replace => (Role::Owner, "replacing"),
            _ => (Role::Writer, "pushing to"),
        };
        require(caller, &access, role, doing)?;
        let table = self.table(&access.dataset).await?;
        let committed = match create {
            Create::New => self.created_before(name, &table, key, body).await?,
            Create::Replace => self.replace(place, &access.dataset, &table, key, body).await?,
            Create::Never | Create::IfMissing => {
                // Nothing to create: pushes of rows run side by side.
                drop(turn);
                self.append(place, name, &table, key, body, Head::none()).await?
            }
        };
        Ok(Stored { name: name.clone(), dataset: access.dataset.id, committed })
    }

    /// A creation of what is there: it may have been this very one, whose answer was lost.
    async fn created_before(
        &self,
        name: &DatasetName,
        table: &Arc<Table>,
        key: Option<[u8; 16]>,
        body: &mut Body<'_>,
    ) -> Result<Committed> {
        if key.is_some()
            && let Begin::Seen(record) = table.begin(key).await.map_err(IngestError::of(name))?
        {
            return self.compare(body, &record).await;
        }
        Err(IngestError::DatasetExists(name.clone()))
    }

    /// Puts the columns and rows of the body in the place of those that are there, in one version.
    async fn replace(
        &self,
        place: &Place,
        dataset: &Dataset,
        table: &Arc<Table>,
        key: Option<[u8; 16]>,
        body: &mut Body<'_>,
    ) -> Result<Committed> {
        let (columns, head) = infer(body, &self.limits).await?;
        check_width(&columns)?;
        Column::check_all(&columns)?;
        let begun = table.begin_replacing(columns, key).await;
        let committed = match begun.map_err(IngestError::of(&dataset.name))? {
            Begin::Seen(record) => self.compare(body, &record).await?,
            Begin::New(append) => self.write(place, *append, body, head).await?,
        };
        // The table is what counts. Who lists the dataset before the catalog knows makes it good, too.
        let newest = table.snapshot().await.map_err(IngestError::of(&dataset.name))?;
        let known = ColumnsAt { version: newest.version(), columns: newest.columns().to_vec() };
        let change = DatasetChange { columns: Some(known), ..DatasetChange::default() };
        self.catalog.update_dataset(dataset.id, change).await?;
        Ok(committed)
    }

    /// Pushes to a table that exists. `head` was read from the body before.
    async fn append(
        &self,
        place: &Place,
        name: &DatasetName,
        table: &Arc<Table>,
        key: Option<[u8; 16]>,
        body: &mut Body<'_>,
        head: Head,
    ) -> Result<Committed> {
        match table.begin(key).await.map_err(IngestError::of(name))? {
            Begin::Seen(record) => self.compare(body, &record).await,
            Begin::New(append) => self.write(place, *append, body, head).await,
        }
    }

    async fn write(&self, place: &Place, mut append: Append, body: &mut Body<'_>, head: Head) -> Result<Committed> {
        write_rows(place, &mut append, body, head, &self.limits).await?;
        let commit = append.commit(body.hash());
        Ok(commit.instrument(tracing::trace_span!(target: TRACE, "commit")).await?)
    }

    /// The key was used before: the same body is answered with what it did then.
    async fn compare(&self, body: &mut Body<'_>, record: &PushRecord) -> Result<Committed> {
        while body.next().await?.is_some() {}
        if body.hash() != Some(record.body) {
            return Err(LakeError::KeyReused.into());
        }
        Ok(Committed { version: record.version, rows: record.rows, duplicate: true })
    }

    /// Creates the dataset from the push: nobody sees it before its first rows are committed, and a
    /// push that fails leaves no dataset.
    async fn create(
        &self,
        place: &Place,
        caller: &Caller,
        name: &DatasetName,
        key: Option<[u8; 16]>,
        body: &mut Body<'_>,
    ) -> Result<Stored> {
        let owner = allow_create(self.catalog.as_ref(), caller, name).await?;
        let (columns, head) = infer(body, &self.limits).await?;
        check_width(&columns)?;
        Column::check_all(&columns)?;
        let new = NewDataset::root(name.clone(), columns);
        let id = new.id;
        self.lake.create(id, &new.schema).await?;
        let pushed = async { self.append(place, name, &self.lake.table(id).await?, key, body, head).await };
        let committed = match pushed.await {
            Ok(committed) => committed,
            Err(error) => {
                abandon(&self.lake, id).await;
                return Err(error);
            }
        };
        register(self.catalog.as_ref(), &self.lake, new, owner).await?;
        // Before it was listed, who tells of commits may have found nobody to tell.
        self.lake.commits().add(id, committed.version);
        Ok(Stored { name: name.clone(), dataset: id, committed })
    }
}

fn require(caller: &Caller, access: &Access, role: Role, doing: &str) -> Result<()> {
    let what = format!("{doing} `{}`", access.dataset.name);
    access.require(caller, role).map_err(|lack| IngestError::Denied { what, lack })
}

/// The scope of a key is principal and dataset; the dataset is the table that keeps it.
fn key_hash(caller: &Caller, key: &[u8]) -> Result<[u8; 16]> {
    if !(1..=255).contains(&key.len()) || !key.iter().all(u8::is_ascii_graphic) {
        return Err(IngestError::Key);
    }
    let mut hash = Sha256::new();
    if let Some(principal) = caller.principal() {
        hash.update(principal.id.as_uuid().as_bytes());
    }
    hash.update([0]);
    hash.update(key);
    Ok(first_half(hash))
}
