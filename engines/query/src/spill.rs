//! Spilling to disk, within a quota per query.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use datafusion::common::Result;
use datafusion::execution::disk_manager::{DiskManager, DiskManagerMode};
use datafusion::execution::{SpillFile, SpillWriter, TempFileFactory};
use futures::Stream;
use parking_lot::Mutex;

/// The spill files of one query. They are deleted as soon as the query lets go of them.
pub(crate) struct Spill {
    dir: PathBuf,
    disk: Mutex<Option<Arc<DiskManager>>>,
    quota: Arc<Quota>,
}

/// How much is on disk and how much may be.
#[derive(Debug)]
pub(crate) struct Quota {
    limit: u64,
    used: AtomicU64,
    exceeded: AtomicBool,
}

impl Quota {
    /// Bytes on disk now.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether a write was refused.
    pub(crate) fn exceeded(&self) -> bool {
        self.exceeded.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: u64) -> io::Result<()> {
        if self.used.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) <= self.limit {
            return Ok(());
        }
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        self.exceeded.store(true, Ordering::Relaxed);
        Err(io::Error::other("the spill quota is used up"))
    }
}

impl Spill {
    /// At most `limit` bytes at a time in a folder made under `dir` on the first spill.
    pub(crate) fn new(dir: PathBuf, limit: u64) -> Self {
        let quota = Quota { limit, used: AtomicU64::new(0), exceeded: AtomicBool::new(false) };
        Self { dir, disk: Mutex::default(), quota: Arc::new(quota) }
    }

    pub(crate) fn quota(&self) -> Arc<Quota> {
        Arc::clone(&self.quota)
    }

    fn disk(&self) -> Result<Arc<DiskManager>> {
        let mut disk = self.disk.lock();
        if let Some(disk) = disk.as_ref() {
            return Ok(Arc::clone(disk));
        }
        let mode = DiskManagerMode::Directories(vec![self.dir.clone()]);
        let made = Arc::new(DiskManager::builder().with_mode(mode).with_max_temp_directory_size(u64::MAX).build()?);
        *disk = Some(Arc::clone(&made));
        Ok(made)
    }
}

/// Empties the spill folder of what an earlier process left, and makes it when it is not there.
pub(crate) fn prepare(dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        // Only what the spill code makes: the folder may be a shared one by mistake.
        if entry.file_name().to_string_lossy().starts_with("datafusion-") {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

impl TempFileFactory for Spill {
    fn create_temp_file(&self, description: &str) -> Result<Arc<dyn SpillFile>> {
        let file = self.disk()?.create_tmp_file(description)?;
        Ok(Arc::new(CountedFile { file, written: Arc::default(), quota: Arc::clone(&self.quota) }))
    }
}

struct CountedFile {
    file: Arc<dyn SpillFile>,
    written: Arc<AtomicU64>,
    quota: Arc<Quota>,
}

impl Drop for CountedFile {
    fn drop(&mut self) {
        self.quota.used.fetch_sub(self.written.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

impl SpillFile for CountedFile {
    fn path(&self) -> Option<&Path> {
        self.file.path()
    }

    fn size(&self) -> Option<u64> {
        self.file.size()
    }

    fn read_stream(&self) -> Result<Pin<Box<dyn Stream<Item = Result<bytes::Bytes>> + Send>>> {
        self.file.read_stream()
    }

    fn open_writer(&self) -> Result<Box<dyn SpillWriter>> {
        let writer = self.file.open_writer()?;
        Ok(Box::new(CountedWriter { writer, written: Arc::clone(&self.written), quota: Arc::clone(&self.quota) }))
    }
}

struct CountedWriter {
    writer: Box<dyn SpillWriter>,
    written: Arc<AtomicU64>,
    quota: Arc<Quota>,
}

impl io::Write for CountedWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = bytes.len() as u64;
        self.quota.take(len)?;
        self.written.fetch_add(len, Ordering::Relaxed);
        self.writer.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl SpillWriter for CountedWriter {
    fn finish(&mut self) -> Result<()> {
        self.writer.finish()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn the_quota_holds_and_comes_back() {
        let dir = tempfile::tempdir().expect("folder");
        let spill = Spill::new(dir.path().to_owned(), 100);
        let quota = spill.quota();
        let file = spill.create_temp_file("test").expect("file");
        let mut writer = file.open_writer().expect("writer");
        writer.write_all(&[0; 90]).expect("within the quota");
        assert!(writer.write_all(&[0; 20]).is_err());
        assert!(quota.exceeded());
        assert_eq!(quota.used(), 90);
        drop((writer, file));
        assert_eq!(quota.used(), 0);
    }

    #[test]
    fn only_spill_folders_are_cleaned() {
        let dir = tempfile::tempdir().expect("folder");
        for name in ["datafusion-old", "mine"] {
            std::fs::create_dir(dir.path().join(name)).expect("made");
        }
        prepare(dir.path()).expect("prepared");
        assert!(!dir.path().join("datafusion-old").exists());
        assert!(dir.path().join("mine").exists());
    }
}
