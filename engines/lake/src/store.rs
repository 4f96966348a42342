//! From a storage URL to an object store.

use std::sync::Arc;

use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode};
use url::Url;

use crate::durable::{DurableLocal, create_durable_folder};
use crate::error::{LakeError, Result};

/// Opens the root that holds all tables.
///
/// `file:///folder` is created when missing, each write synced; `memory:` lives as long as the
/// process and is for tests.
pub(crate) fn open(url: &Url) -> Result<Arc<dyn ObjectStore>> {
    match url.scheme() {
        "memory" => Ok(Arc::new(InMemory::new())),
        "file" => open_folder(url),
        other => Err(bad(url, &format!("scheme `{other}` is not supported; use file:///a/folder"))),
    }
}

fn open_folder(url: &Url) -> Result<Arc<dyn ObjectStore>> {
    let folder = url.to_file_path().map_err(|()| bad(url, "it must name an absolute folder: file:///a/folder"))?;
    create_durable_folder(&folder).map_err(|e| bad(url, &format!("the folder cannot be created: {e}")))?;
    Ok(Arc::new(DurableLocal::open(&folder)?))
}

/// Names the root as a lake; [`ping`] looks for it.
const MARKER: &str = "lakegate.json";

/// Leaves the marker in a new root.
pub(crate) async fn mark(store: &dyn ObjectStore) -> Result<()> {
    let content = format!("{{\"lake\":\"{}\"}}\n", uuid::Uuid::new_v4());
    match store.put_opts(&Path::from(MARKER), content.into(), PutMode::Create.into()).await {
        Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Asks for the marker: only a store that is reachable, and still holds our root, has it.
pub(crate) async fn ping(store: &dyn ObjectStore) -> Result<()> {
    store.head(&Path::from(MARKER)).await?;
    Ok(())
}

fn bad(url: &Url, why: &str) -> LakeError {
    let mut shown = url.clone();
    // Only fails for URLs that cannot carry credentials in the first place.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    LakeError::BadStore { url: shown.to_string(), why: why.to_owned() }
}
