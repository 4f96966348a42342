//! Whether a store really refuses to create what is there already.
//!
//! Every commit rests on it: of two writers that create one version, exactly one may win. A store that ignores the
//! condition, and a disk without hard links, would lose acknowledged rows in silence.

use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt as _, PutMode};
use url::Url;

use super::bad;
use crate::error::Result;

/// Creates a fresh object twice; the second time must fail, and change nothing. Leaves no object behind.
pub(super) async fn conditional_writes(url: &Url, store: &dyn ObjectStore) -> Result<()> {
    let path = Path::from(format!("lakegate-probe-{}", uuid::Uuid::new_v4()));
    let judged = create_twice(url, store, &path).await;
    match store.delete(&path).await {
        Ok(()) | Err(Error::NotFound { .. }) => judged,
        Err(error) => judged.and(Err(error.into())),
    }
}

async fn create_twice(url: &Url, store: &dyn ObjectStore, path: &Path) -> Result<()> {
    const FIRST: &[u8] = b"first";
    let create = |content: &'static [u8]| store.put_opts(path, content.into(), PutMode::Create.into());
    match create(FIRST).await {
        // Of an object with a new name it can only mean that an attempt landed whose answer was lost.
        Ok(_) | Err(Error::AlreadyExists { .. }) => {}
        Err(Error::NotSupported { .. }) if url.scheme() == "file" => {
            return Err(bad(url, "its file system has no hard links, which commits rest on; use another disk"));
        }
        Err(Error::NotImplemented { .. } | Error::NotSupported { .. }) => {
            return Err(bad(url, &without("refuses them")));
        }
        Err(error) => return Err(error.into()),
    }
    match create(b"second").await {
        Err(Error::AlreadyExists { .. }) => {}
        Ok(_) => return Err(bad(url, &without("ignores them"))),
        Err(error) => return Err(error.into()),
    }
    let there = store.get(path).await?.bytes().await?;
    if there == FIRST { Ok(()) } else { Err(bad(url, &without("says that it holds them and does not"))) }
}

fn without(how: &str) -> String {
    format!("commits rest on conditional writes (If-None-Match), and this store {how}; use one that has them")
}
