//! Writes to a remote store that mean what they say: uploads are there whole or leave nothing behind, and a write
//! without a condition is never answered with "it exists".
//!
//! A store keeps the parts of an upload until someone completes or aborts it, and charges for them. A push that is
//! refused, or whose client goes away, just drops its upload: here that is an abort. S3 answers 409 to writers that
//! meet, which `object_store` reports as `AlreadyExists`, and a Delta log takes for its checkpoint being there.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt as _,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};
use tokio::runtime::Handle;

use super::io::IoRuntime;

/// Waits after each time that a store refused to overwrite an object.
const REFUSAL_PAUSES: [Duration; 3] =
    [Duration::from_millis(50), Duration::from_millis(200), Duration::from_millis(800)];

/// A store whose uploads are aborted when they are dropped, and whose overwrites are tried again when another
/// writer was in the way. Everything else is the inner store's.
#[derive(Debug)]
pub(super) struct TidyWrites {
    inner: Arc<dyn ObjectStore>,
    /// On which the requests of `inner` run, and what is left to do for uploads that were dropped.
    io: IoRuntime,
}

impl TidyWrites {
    pub(super) fn new(inner: Arc<dyn ObjectStore>, io: IoRuntime) -> Self {
        Self { inner, io }
    }
}

impl fmt::Display for TidyWrites {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for TidyWrites {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        if opts.mode != PutMode::Overwrite {
            return self.inner.put_opts(location, payload, opts).await;
        }
        for pause in REFUSAL_PAUSES {
            match self.inner.put_opts(location, payload.clone(), opts.clone()).await {
                Err(object_store::Error::AlreadyExists { .. }) => tokio::time::sleep(pause).await,
                answer => return answer,
            }
        }
        let source = format!("other writers were in the way of {location}").into();
        Err(object_store::Error::Generic { store: "TidyWrites", source })
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let upload = self.inner.put_multipart_opts(location, opts).await?;
        let (store, location, io) = (Arc::clone(&self.inner), location.clone(), self.io.handle().clone());
        Ok(Box::new(TidyUpload { upload: Some(upload), store, location, bytes: 0, io }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[derive(Debug)]
struct TidyUpload {
    /// `None` once it has been completed or given up.
    upload: Option<Box<dyn MultipartUpload>>,
    store: Arc<dyn ObjectStore>,
    location: Path,
    bytes: u64,
    io: Handle,
}

impl TidyUpload {
    fn ended(&self) -> object_store::Error {
        let source = format!("the upload of {} has ended", self.location).into();
        object_store::Error::Generic { store: "TidyWrites", source }
    }
}

#[async_trait]
impl MultipartUpload for TidyUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.bytes += data.content_length() as u64;
        match &mut self.upload {
            Some(upload) => upload.put_part(data),
            None => Box::pin(std::future::ready(Err(self.ended()))),
        }
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let Some(upload) = &mut self.upload else {
            return Err(self.ended());
        };
        let error = match upload.complete().await {
            Ok(result) => {
                self.upload = None;
                return Ok(result);
            }
            Err(error) => error,
        };
        // The answer may have been lost, and the upload be gone because it was completed. Nobody else writes
        // under this name, so that an object of this size is ours.
        match self.store.head(&self.location).await {
            Ok(there) if there.size == self.bytes => {
                self.upload = None;
                Ok(PutResult { e_tag: there.e_tag, version: there.version })
            }
            _ => Err(error),
        }
    }

    async fn abort(&mut self) -> Result<()> {
        match self.upload.take() {
            Some(mut upload) => upload.abort().await,
            None => Ok(()),
        }
    }
}

impl Drop for TidyUpload {
    fn drop(&mut self) {
        let Some(mut upload) = self.upload.take() else {
            return;
        };
        let location = self.location.clone();
        self.io.spawn(async move {
            if let Err(error) = upload.abort().await {
                // At worst parts stay that the bucket's lifecycle rule removes.
                tracing::warn!(%location, %error, "an upload that was given up could not be aborted");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;
    use parking_lot::Mutex;

    use super::*;

    /// An upload that notes how it ended.
    #[derive(Debug)]
    struct Noting {
        ends: Arc<Mutex<Vec<&'static str>>>,
        completes: bool,
    }

    #[async_trait]
    impl MultipartUpload for Noting {
        fn put_part(&mut self, _data: PutPayload) -> UploadPart {
            Box::pin(std::future::ready(Ok(())))
        }

        async fn complete(&mut self) -> Result<PutResult> {
            self.ends.lock().push("complete");
            let lost = || object_store::Error::Generic { store: "test", source: "no answer".into() };
            if self.completes { Ok(PutResult { e_tag: None, version: None }) } else { Err(lost()) }
        }

        async fn abort(&mut self) -> Result<()> {
            self.ends.lock().push("abort");
            Ok(())
        }
    }

    fn upload(completes: bool) -> (TidyUpload, Arc<InMemory>, Arc<Mutex<Vec<&'static str>>>) {
        let (ends, store) = (Arc::default(), Arc::new(InMemory::new()));
        let noting = Noting { ends: Arc::clone(&ends), completes };
        let inner: Arc<dyn ObjectStore> = Arc::<InMemory>::clone(&store);
        (
            TidyUpload {
                upload: Some(Box::new(noting)),
                store: inner,
                location: "a".into(),
                bytes: 0,
                io: Handle::current(),
            },
            store,
            ends,
        )
    }

    #[tokio::test]
    async fn a_dropped_upload_is_aborted_and_a_completed_one_is_not() {
        let (mut completed, _, ends) = upload(true);
        completed.complete().await.expect("completes");
        drop(completed);
        tokio::task::yield_now().await;
        assert_eq!(*ends.lock(), ["complete"]);

        let (dropped, _, ends) = upload(true);
        drop(dropped);
        tokio::task::yield_now().await;
        assert_eq!(*ends.lock(), ["abort"]);
    }

    #[tokio::test]
    async fn a_completion_whose_answer_was_lost_counts_when_the_object_is_there() {
        let (mut landed, store, _) = upload(false);
        landed.put_part("abc".into()).await.expect("part");
        store.put(&"a".into(), "abc".into()).await.expect("put");
        assert!(landed.complete().await.is_ok());

        let (mut failed, store, ends) = upload(false);
        failed.put_part("abc".into()).await.expect("part");
        store.put(&"a".into(), "ab".into()).await.expect("put");
        assert!(failed.complete().await.is_err());
        drop(failed);
        tokio::task::yield_now().await;
        assert_eq!(*ends.lock(), ["complete", "abort"]);
    }
}
