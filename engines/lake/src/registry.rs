//! The only stores that a query can reach: `lake://<dataset-id>/`, nothing else.

use std::sync::Arc;

use datafusion::common::DataFusionError;
use datafusion::execution::object_store::{ObjectStoreRegistry, ObjectStoreUrl};
use lakegate_catalog::DatasetId;
use object_store::ObjectStore;
use object_store::prefix::PrefixStore;
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
            Some(id) => Ok(Arc::new(PrefixStore::new(Arc::clone(&self.root), id.to_string()))),
            None => Err(DataFusionError::Plan("only datasets can be read".to_owned())),
        }
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
