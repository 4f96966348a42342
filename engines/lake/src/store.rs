//! From a storage URL to an object store that holds what it promises.
//!
//! [`remote`] builds the clients of S3, Azure and Google, whose requests run on [`io`], [`writes`] leaves no upload half done, and
//! [`probe`] refuses a store that would lose commits. Here: which of them a URL means, and the marker that
//! says which lake it holds.

mod io;
mod options;
mod probe;
mod remote;
mod writes;

use std::sync::Arc;

use futures::StreamExt as _;
use lakegate_catalog::LakeId;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::durable::{DurableLocal, create_durable_folder};
use crate::error::{LakeError, Result};

pub use options::{AzureOptions, S3Options, StoreEnvironment, StoreOptions};

/// Which lake a root may hold. One that holds another is refused, and nothing is written to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Any; a root that holds none gets a new one.
    Any,
    /// This one, and it is there: nothing is created.
    Known(LakeId),
    /// This one, which a root that holds none becomes.
    New(LakeId),
}

/// Opens the root that holds all tables, and tells which lake it is.
///
/// `file:///folder`, each write synced; `s3://`, `az://`, `gs://` with a prefix or without; `memory:` lives as long
/// as the process and is for tests. A new root gets its marker, unless a lake is expected to be there already.
/// Costs a few small requests; a store that does not hold conditional writes is refused.
pub(crate) async fn open(url: &Url, options: &StoreOptions, which: Which) -> Result<(Arc<dyn ObjectStore>, LakeId)> {
    let store: Arc<dyn ObjectStore> = match url.scheme() {
        "memory" => Arc::new(InMemory::new()),
        "file" => open_folder(url, which)?,
        "s3" | "az" | "gs" => remote::open(url, options)?,
        other => {
            let why = format!("scheme `{other}` is not supported; use s3://, az://, gs:// or file:///a/folder");
            return Err(bad(url, &why));
        }
    };
    let found = identify(url, store.as_ref(), which).await.map_err(|error| refused(url, error))?;
    Ok((store, found))
}

/// Which lake the root holds. Nothing is written to a root that turns out to be another's.
async fn identify(url: &Url, store: &dyn ObjectStore, which: Which) -> Result<LakeId> {
    let found = marked(url, store).await?;
    let other = |found| LakeError::OtherLake { url: shown(url), found };
    let wanted = match (which, found) {
        (Which::Any, Some(found)) => found,
        (Which::Any, None) => LakeId::generate(),
        (Which::New(wanted), None) => wanted,
        (Which::New(wanted) | Which::Known(wanted), Some(found)) if found == wanted => wanted,
        (_, found) => return Err(other(found)),
    };
    probe::conditional_writes(url, store).await?;
    if found.is_some() {
        return Ok(wanted);
    }
    // Another process may have been quicker.
    match mark(url, store, wanted).await? {
        marked if marked == wanted || which == Which::Any => Ok(marked),
        marked => Err(other(Some(marked))),
    }
}

/// What a store says at the start, in words that tell what to change; its full answer is in the log.
fn refused(url: &Url, error: LakeError) -> LakeError {
    let LakeError::Storage(error) = error else {
        return error;
    };
    let said = remote::root_cause(&error);
    let why = match &error {
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
            format!("the store refuses these credentials, or they lack a right: {said}")
        }
        object_store::Error::NotFound { .. } => format!("the bucket or container does not exist: {said}"),
        _ => format!("the store does not answer as it should: {}", remote::in_full(&error)),
    };
    bad(url, &why)
}

fn open_folder(url: &Url, which: Which) -> Result<Arc<dyn ObjectStore>> {
    let folder = url.to_file_path().map_err(|()| bad(url, "it must name an absolute folder: file:///a/folder"))?;
    if matches!(which, Which::Known(_)) && !folder.try_exists().map_err(|e| bad(url, &e.to_string()))? {
        return Err(LakeError::OtherLake { url: shown(url), found: None });
    }
    create_durable_folder(&folder).map_err(|e| bad(url, &format!("the folder cannot be created: {e}")))?;
    Ok(Arc::new(DurableLocal::open(&folder)?))
}

/// Names the root as a lake; [`ping`] looks for it.
const MARKER: &str = "lakegate.json";

/// What the marker holds.
#[derive(Serialize, Deserialize)]
struct Marker {
    lake: LakeId,
}

/// Leaves the marker in a new root; answers the one that is there.
async fn mark(url: &Url, store: &dyn ObjectStore, lake: LakeId) -> Result<LakeId> {
    let marker = Marker { lake };
    let content = serde_json::to_string(&marker).map_err(|e| LakeError::Defect(e.to_string()))?;
    match store.put_opts(&Path::from(MARKER), format!("{content}\n").into(), PutMode::Create.into()).await {
        Ok(_) => Ok(marker.lake),
        // Also when it is ours, and only the answer to the first attempt was lost.
        Err(object_store::Error::AlreadyExists { .. }) => {
            marked(url, store).await?.ok_or_else(|| bad(url, "its lakegate.json comes and goes"))
        }
        Err(error) => Err(error.into()),
    }
}

/// What the root's marker says; `None` when it has none.
async fn marked(url: &Url, store: &dyn ObjectStore) -> Result<Option<LakeId>> {
    const LONGEST: u64 = 4_096;
    let options = object_store::GetOptions::new().with_range(Some(0..LONGEST));
    match store.get_opts(&Path::from(MARKER), options).await {
        Ok(found) => match serde_json::from_slice::<Marker>(&found.bytes().await?) {
            Ok(marker) => Ok(Some(marker.lake)),
            Err(_) => {
                Err(bad(url, "its lakegate.json was not written by lakegate; restore that file, or use another root"))
            }
        },
        Err(object_store::Error::NotFound { .. }) => {
            // A bucket that does not exist has no marker either; only a list tells them apart.
            match store.list(None).next().await {
                Some(Err(error @ object_store::Error::Generic { .. })) => {
                    let said = remote::root_cause(&error);
                    Err(bad(
                        url,
                        &format!("the bucket or container does not exist, or does not list what it holds: {said}"),
                    ))
                }
                Some(Err(error)) => Err(error.into()),
                Some(Ok(_)) | None => Ok(None),
            }
        }
        Err(error) => Err(error.into()),
    }
}

/// Asks for the marker: only a store that is reachable, and still holds our root, has it.
pub(crate) async fn ping(store: &dyn ObjectStore) -> Result<()> {
    store.head(&Path::from(MARKER)).await?;
    Ok(())
}

fn bad(url: &Url, why: &str) -> LakeError {
    LakeError::BadStore { url: shown(url), why: why.to_owned() }
}

/// The URL without credentials.
fn shown(url: &Url) -> String {
    let mut shown = url.clone();
    // Only fails for URLs that cannot carry credentials in the first place.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.to_string()
}
