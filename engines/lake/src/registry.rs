//! The only stores that a query can reach: `lake://<dataset-id>/`, nothing else.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::common::DataFusionError;
use datafusion::execution::object_store::{ObjectStoreRegistry, ObjectStoreUrl};
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use lakegate_catalog::DatasetId;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{
    CopyOptions, Error, GetOptions, GetRange, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use url::Url;

use crate::error::{LakeError, Result};

/// The synthetic URL under which plans name a dataset's files.
pub(crate) fn dataset_url(id: DatasetId) -> Result<ObjectStoreUrl> {
    ObjectStoreUrl::parse(format!("lake://{id}")).map_err(|e| LakeError::Defect(e.to_string()))
}

/// Resolves `lake://<dataset-id>/` to that dataset's folder and refuses every other URL.
#[derive(Debug)]
pub(crate) struct LakeRegistry {
    root: Arc<dyn ObjectStore>,
}

impl LakeRegistry {
    pub(crate) fn new(root: Arc<dyn ObjectStore>) -> Self {
        Self { root }
    }
}

impl ObjectStoreRegistry for LakeRegistry {
    fn register_store(&self, _url: &Url, _store: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        // Nothing may widen what a query reaches.
        None
    }

    fn get_store(&self, url: &Url) -> datafusion::common::Result<Arc<dyn ObjectStore>> {
        let id =
            (url.scheme() == "lake").then(|| url.host_str()).flatten().and_then(|host| host.parse::<DatasetId>().ok());
        match id {
            Some(id) => Ok(Arc::new(DataFiles(PrefixStore::new(Arc::clone(&self.root), id.to_string())))),
            None => Err(DataFusionError::Plan("only datasets can be read".to_owned())),
        }
    }
}

/// The files of a dataset, to be read. A range that ends before it should is an error: Parquet's decoder takes it for a
/// defect of its own, and ends the query.
#[derive(Debug)]
struct DataFiles(PrefixStore<Arc<dyn ObjectStore>>);

impl fmt::Display for DataFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl DataFiles {
    fn read_only<T>(operation: &str) -> object_store::Result<T> {
        let (operation, implementer) = (operation.to_owned(), "DataFiles".to_owned());
        Err(Error::NotImplemented { operation, implementer })
    }
}

fn too_short(path: &Path, found: u64, asked: u64) -> Error {
    let source = format!("{path} ends too early: {found} bytes instead of {asked}").into();
    Error::Generic { store: "DataFiles", source }
}

#[async_trait]
impl ObjectStore for DataFiles {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        let asked = match &options.range {
            Some(GetRange::Bounded(range)) if !options.head => Some(range.end.saturating_sub(range.start)),
            _ => None,
        };
        let found = self.0.get_opts(location, options).await?;
        let bytes = found.range.end - found.range.start;
        match asked.filter(|asked| *asked != bytes) {
            None => Ok(found),
            Some(asked) => Err(too_short(location, bytes, asked)),
        }
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> object_store::Result<Vec<Bytes>> {
        let found = self.0.get_ranges(location, ranges).await?;
        for (range, bytes) in ranges.iter().zip(&found) {
            let (bytes, asked) = (bytes.len() as u64, range.end.saturating_sub(range.start));
            if bytes != asked {
                return Err(too_short(location, bytes, asked));
            }
        }
        Ok(found)
    }

    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> object_store::Result<PutResult> {
        Self::read_only("put")
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        Self::read_only("put_multipart")
    }

    fn delete_stream(
        &self,
        _: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        stream::iter([Self::read_only("delete")]).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> object_store::Result<()> {
        Self::read_only("copy")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_datasets_resolve() {
        let registry = LakeRegistry::new(Arc::new(object_store::memory::InMemory::new()));
        let get = |url: &str| registry.get_store(&Url::parse(url).expect("url"));
        assert!(get(dataset_url(DatasetId::generate()).expect("url").as_str()).is_ok());
        for url in ["file:///etc/passwd", "http://127.0.0.1/", "lake://../", "s3://bucket/", "lake://etc/"] {
            assert!(get(url).is_err(), "{url}");
        }
    }
}
