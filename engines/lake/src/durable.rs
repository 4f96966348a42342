//! A local folder whose writes are on disk when they are reported.
//!
//! `object_store`'s [`LocalFileSystem`] never calls fsync: after a power cut an acknowledged row
//! could be gone, or a log entry could exist without its bytes. This wrapper writes a staged file,
//! syncs it, gives it its name in one step, and syncs the folder, before it answers. Reads, lists
//! and deletes are the inner store's.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::ops::Range;
use std::path::{Path as OsPath, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{FutureExt as _, StreamExt as _, TryFutureExt as _, TryStreamExt as _};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};
use parking_lot::Mutex;

/// A local folder with durable, atomic writes.
#[derive(Debug)]
pub(crate) struct DurableLocal {
    inner: LocalFileSystem,
    root: PathBuf,
}

impl DurableLocal {
    /// Opens a folder that exists.
    pub(crate) fn open(folder: &OsPath) -> Result<Self> {
        Ok(Self { inner: LocalFileSystem::new_with_prefix(folder)?, root: folder.to_owned() })
    }

    fn stage(&self, location: &Path, mode: PutMode) -> Result<Staged> {
        if matches!(mode, PutMode::Update(_)) {
            return Err(object_store::Error::NotImplemented {
                operation: "put with PutMode::Update".to_owned(),
                implementer: "DurableLocal".to_owned(),
            });
        }
        let target = self.inner.path_to_filesystem(location)?;
        Ok(Staged { target, mode, location: location.clone(), root: self.root.clone() })
    }
}

impl std::fmt::Display for DurableLocal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DurableLocal")
    }
}

#[async_trait]
impl ObjectStore for DurableLocal {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let staged = self.stage(location, opts.mode)?;
        blocking(move || {
            let (mut file, source) = staged.create()?;
            let written = payload.iter().try_for_each(|chunk| file.write_all(chunk));
            staged.publish(written.map(|()| file), &source)
        })
        .await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        _opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let staged = self.stage(location, PutMode::Overwrite)?;
        blocking(move || {
            let (file, source) = staged.create()?;
            let file = Arc::new(Mutex::new(Some(file)));
            Ok(Box::new(DurableUpload { staged, source, file, offset: 0 }) as Box<dyn MultipartUpload>)
        })
        .await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    /// Reads just these ranges; a store that is far away would rather read what is between them too.
    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        sorted(self.inner.list(prefix))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        sorted(self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, _from: &Path, _to: &Path, _options: CopyOptions) -> Result<()> {
        // Nothing here copies or renames objects; a copy that is not durable must not pass unnoticed.
        Err(object_store::Error::NotImplemented {
            operation: "copy".to_owned(),
            implementer: "DurableLocal".to_owned(),
        })
    }
}

/// Lists in the order of names, as object stores do and log replay needs; folders come in any order.
fn sorted(listed: BoxStream<'static, Result<ObjectMeta>>) -> BoxStream<'static, Result<ObjectMeta>> {
    let collected = listed.try_collect::<Vec<_>>().map_ok(|mut all| {
        all.sort_unstable_by(|a, b| a.location.cmp(&b.location));
        stream::iter(all).map(Ok)
    });
    collected.try_flatten_stream().boxed()
}

/// A write on its way: where it goes and how it must land there.
#[derive(Clone, Debug)]
struct Staged {
    target: PathBuf,
    mode: PutMode,
    location: Path,
    root: PathBuf,
}

impl Staged {
    /// Opens a new staged file beside the target. The inner store hides names that end in `#digits`.
    fn create(&self) -> Result<(File, PathBuf)> {
        let folder = self.target.parent().unwrap_or(OsPath::new("."));
        // A root that is gone (a disk that is not mounted) must not come back empty.
        std::fs::metadata(&self.root).map_err(|e| self.failed(e))?;
        create_durable_folder(folder).map_err(|e| self.failed(e))?;
        let mut name = self.target.clone().into_os_string();
        name.push(format!("#{}", uuid::Uuid::new_v4().as_u64_pair().0));
        let source = PathBuf::from(name);
        let file = OpenOptions::new().write(true).create_new(true).open(&source).map_err(|e| self.failed(e))?;
        Ok((file, source))
    }

    /// Makes the staged bytes durable, then visible under the target's name, then that name durable.
    fn publish(&self, file: io::Result<File>, source: &OsPath) -> Result<PutResult> {
        let landed = file.and_then(|file| {
            file.sync_all()?;
            drop(file);
            self.give_name(source)
        });
        if let Err(error) = landed {
            // The staged file is worthless now; the error that counts is the first.
            let _ = std::fs::remove_file(source);
            return Err(self.failed(error));
        }
        Ok(PutResult { e_tag: None, version: None })
    }

    fn give_name(&self, source: &OsPath) -> io::Result<()> {
        match self.mode {
            PutMode::Create => {
                // A hard link fails when the name is taken; a rename would overwrite in silence.
                std::fs::hard_link(source, &self.target).map_err(no_hard_links)?;
                std::fs::remove_file(source)?;
            }
            PutMode::Overwrite | PutMode::Update(_) => std::fs::rename(source, &self.target)?,
        }
        sync_folder(self.target.parent().unwrap_or(OsPath::new(".")))
    }

    fn failed(&self, source: io::Error) -> object_store::Error {
        let path = self.location.to_string();
        let source = Box::new(source);
        match source.kind() {
            io::ErrorKind::AlreadyExists => object_store::Error::AlreadyExists { path, source },
            io::ErrorKind::Unsupported => object_store::Error::NotSupported { source },
            _ => object_store::Error::Generic { store: "DurableLocal", source },
        }
    }
}

/// Says so when a file system has no hard links. The staged file was just written beside the new name, so that
/// Linux's "operation not permitted" can mean nothing else.
fn no_hard_links(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::PermissionDenied => io::Error::new(io::ErrorKind::Unsupported, error),
        _ => error,
    }
}

#[derive(Debug)]
struct DurableUpload {
    staged: Staged,
    source: PathBuf,
    /// `None` once the upload has been completed or given up.
    file: Arc<Mutex<Option<File>>>,
    offset: u64,
}

#[async_trait]
impl MultipartUpload for DurableUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let at = self.offset;
        self.offset += data.content_length() as u64;
        let (file, staged) = (Arc::clone(&self.file), self.staged.clone());
        blocking(move || {
            let mut file = file.lock();
            let file = file.as_mut().ok_or_else(|| staged.failed(io::Error::other("the upload has ended")))?;
            let sought = file.seek(SeekFrom::Start(at));
            sought.and_then(|_| data.iter().try_for_each(|chunk| file.write_all(chunk))).map_err(|e| staged.failed(e))
        })
        .boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let (staged, source, file) = (self.staged.clone(), self.source.clone(), Arc::clone(&self.file));
        blocking(move || {
            let file = file.lock().take().ok_or_else(|| io::Error::other("the upload has ended"));
            staged.publish(file, &source)
        })
        .await
    }

    async fn abort(&mut self) -> Result<()> {
        let (file, source) = (Arc::clone(&self.file), self.source.clone());
        blocking(move || {
            discard(&file, &source);
            Ok(())
        })
        .await
    }
}

impl Drop for DurableUpload {
    /// A push that was cancelled or refused leaves nothing behind.
    fn drop(&mut self) {
        discard(&self.file, &self.source);
    }
}

fn discard(file: &Mutex<Option<File>>, source: &OsPath) {
    if file.lock().take().is_some() {
        // At worst an unreferenced staged file stays, which no reader sees.
        let _ = std::fs::remove_file(source);
    }
}

/// Creates the missing folders of a path and syncs the entry of each in its parent.
pub(crate) fn create_durable_folder(folder: &OsPath) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let Some(parent) = folder.parent() else {
        return Ok(());
    };
    create_durable_folder(parent)?;
    match std::fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_folder(parent),
    }
}

fn sync_folder(folder: &OsPath) -> io::Result<()> {
    let folder = if folder.as_os_str().is_empty() { OsPath::new(".") } else { folder };
    File::open(folder)?.sync_all()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|source| object_store::Error::JoinError { source })?
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt as _;

    use super::*;

    fn store() -> (tempfile::TempDir, DurableLocal) {
        let folder = tempfile::tempdir().expect("tempdir");
        let store = DurableLocal::open(folder.path()).expect("opens");
        (folder, store)
    }

    async fn names(store: &DurableLocal) -> Vec<String> {
        let listed: Vec<_> = store.list(None).try_collect().await.expect("list");
        listed.into_iter().map(|meta| meta.location.to_string()).collect()
    }

    #[tokio::test]
    async fn create_wins_once() {
        let (_folder, store) = store();
        let path = Path::from("a/b/c.json");
        let create = || store.put_opts(&path, "one".into(), PutMode::Create.into());
        let (first, second) = futures::join!(create(), create());
        assert_eq!(usize::from(first.is_ok()) + usize::from(second.is_ok()), 1);
        let error = first.err().or(second.err()).expect("one loses");
        assert!(matches!(error, object_store::Error::AlreadyExists { .. }), "{error}");
        assert_eq!(names(&store).await, ["a/b/c.json"]);
    }

    #[tokio::test]
    async fn lists_come_in_order() {
        let (_folder, store) = store();
        for name in ["b/9", "a/3", "b/10", "a/1", "c"] {
            store.put(&Path::from(name), "x".into()).await.expect("put");
        }
        assert_eq!(names(&store).await, ["a/1", "a/3", "b/10", "b/9", "c"]);
    }

    #[tokio::test]
    async fn a_root_that_is_gone_stays_gone() {
        let (folder, store) = store();
        std::fs::remove_dir_all(folder.path()).expect("removed");
        assert!(store.put(&Path::from("a/b"), "x".into()).await.is_err());
        assert!(store.put_multipart(&Path::from("a/b")).await.is_err());
        assert!(!folder.path().exists());
    }

    #[tokio::test]
    async fn overwrite_replaces() {
        let (_folder, store) = store();
        let path = Path::from("x");
        store.put(&path, "one".into()).await.expect("put");
        store.put(&path, "two".into()).await.expect("put");
        let bytes = store.get(&path).await.expect("get").bytes().await.expect("bytes");
        assert_eq!(&bytes[..], b"two");
    }

    #[tokio::test]
    async fn an_upload_appears_whole_or_not_at_all() {
        let (folder, store) = store();
        let path = Path::from("t/data");
        let mut upload = store.put_multipart(&path).await.expect("start");
        // Parts may be written in any order.
        let (first, second) = (upload.put_part("abc".into()), upload.put_part("def".into()));
        second.await.expect("part");
        first.await.expect("part");
        assert!(names(&store).await.is_empty());
        upload.complete().await.expect("complete");
        let bytes = store.get(&path).await.expect("get").bytes().await.expect("bytes");
        assert_eq!(&bytes[..], b"abcdef");

        let mut dropped = store.put_multipart(&Path::from("t/other")).await.expect("start");
        dropped.put_part("abc".into()).await.expect("part");
        drop(dropped);
        assert_eq!(names(&store).await, ["t/data"]);
        assert_eq!(std::fs::read_dir(folder.path().join("t")).expect("folder").count(), 1, "no staged file stays");
    }
}
