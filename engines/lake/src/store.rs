//! From a storage URL to an object store.

use std::sync::Arc;

use lakegate_catalog::LakeId;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::durable::{DurableLocal, create_durable_folder};
use crate::error::{LakeError, Result};

/// Opens the root that holds all tables, and tells which lake it is.
///
/// `file:///folder`, each write synced; `memory:` lives as long as the process and is for tests. A new root gets
/// its marker, unless a lake is expected to be there already.
pub(crate) async fn open(url: &Url, expected: Option<LakeId>) -> Result<(Arc<dyn ObjectStore>, LakeId)> {
    let store: Arc<dyn ObjectStore> = match url.scheme() {
        "memory" => Arc::new(InMemory::new()),
        "file" => open_folder(url, expected)?,
        other => return Err(bad(url, &format!("scheme `{other}` is not supported; use file:///a/folder"))),
    };
    let found = match expected {
        Some(_) => marked(url, store.as_ref()).await?,
        None => Some(mark(url, store.as_ref()).await?),
    };
    match (found, expected) {
        (Some(found), None) => Ok((store, found)),
        (Some(found), Some(expected)) if found == expected => Ok((store, found)),
        (found, _) => Err(LakeError::OtherLake { url: shown(url), found }),
    }
}

fn open_folder(url: &Url, expected: Option<LakeId>) -> Result<Arc<dyn ObjectStore>> {
    let folder = url.to_file_path().map_err(|()| bad(url, "it must name an absolute folder: file:///a/folder"))?;
    if expected.is_some() && !folder.try_exists().map_err(|e| bad(url, &e.to_string()))? {
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
async fn mark(url: &Url, store: &dyn ObjectStore) -> Result<LakeId> {
    let marker = Marker { lake: LakeId::generate() };
    let content = serde_json::to_string(&marker).map_err(|e| LakeError::Defect(e.to_string()))?;
    match store.put_opts(&Path::from(MARKER), format!("{content}\n").into(), PutMode::Create.into()).await {
        Ok(_) => Ok(marker.lake),
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
        Err(object_store::Error::NotFound { .. }) => Ok(None),
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
