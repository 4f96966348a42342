//! `lakegate backup`: a copy of an instance, also while it serves.
//!
//! The catalog is copied first and the tables after it: a table may be newer than the catalog that lists it, never
//! older. The copy has another name until all of it is on the disk, so that a backup is whole or is not there.

use std::fs::File;
use std::path::{Path, PathBuf};

use lakegate_catalog::{Catalog as _, LakeId};
use lakegate_catalog_sql::{SqlCatalog, SqlOptions};
use lakegate_config::Settings;
use lakegate_lake::{Lake, LakeError, LakeOptions, Which};
use url::Url;

use crate::cli::{BackupArgs, Cli};
use crate::failure::{Failure, Result, say};
use crate::{logging, serve, settings};

/// Datasets that are deleted while they are copied make it begin again; so often at most.
const MAX_STARTS: usize = 5;

/// `lakegate backup FOLDER`.
pub(crate) fn command(cli: &Cli, args: &BackupArgs) -> Result<()> {
    let settings = settings::load(cli)?;
    logging::start(&settings.log, None)?;
    let folder = std::path::absolute(&args.folder).map_err(|e| unusable(&args.folder, &e))?;
    serve::runtime(0)?.block_on(backup(&settings, &folder))
}

async fn backup(settings: &Settings, folder: &Path) -> Result<()> {
    let catalog = settings.database_url();
    let catalog = catalog.strip_prefix("sqlite:").map(PathBuf::from).ok_or_else(|| {
        Failure::usage(
            "the catalog is on PostgreSQL: copy it with pg_dump, and the tables with the means of their store",
        )
    })?;
    if !catalog.is_file() || !settings.data_dir.join("VERSION").is_file() {
        let detail = format!("{} holds no instance; name its folder with --data-dir", settings.data_dir.display());
        return Err(Failure::usage(detail));
    }
    if folder.exists() {
        return Err(Failure::usage(format!("{} is there already; name a new folder", folder.display())));
    }
    let tables = Url::parse(&settings.storage_root()).ok().and_then(|root| root.to_file_path().ok());
    if is_within(folder, &settings.data_dir) || tables.is_some_and(|tables| is_within(folder, &tables)) {
        let detail = format!("{} is within the instance itself; name a folder outside of it", folder.display());
        return Err(Failure::usage(detail));
    }
    let begun = begun(folder);
    let made = make(settings, &catalog, &begun).await;
    let done = match made {
        Ok(done) => done,
        Err(failure) => {
            // Half a backup is none.
            let _ = std::fs::remove_dir_all(&begun);
            return Err(failure);
        }
    };
    let finish = || -> std::io::Result<()> {
        sync(&begun)?;
        std::fs::rename(&begun, folder)?;
        sync(folder.parent().unwrap_or(Path::new(".")))
    };
    finish().map_err(|e| unusable(folder, &e))?;
    say(format_args!("{} to {}", done.what, folder.display()));
    let tables = done.root.map(|root| format!(" with storage.root = \"{}\", or where its copy is", shown(&root)));
    say(format_args!("restore: lakegate serve --data-dir {}{}", folder.display(), tables.unwrap_or_default()));
    Ok(())
}

/// Whether a folder to be made would be below another one, whatever links lead there.
fn is_within(folder: &Path, other: &Path) -> bool {
    let real = |path: &Path| path.ancestors().find_map(|there| there.canonicalize().ok());
    real(folder).zip(real(other)).is_some_and(|(folder, other)| folder.starts_with(other))
}

/// The name of a backup that is not whole.
fn begun(folder: &Path) -> PathBuf {
    let mut name = folder.as_os_str().to_owned();
    name.push(".incomplete");
    PathBuf::from(name)
}

/// What a backup holds.
struct Made {
    what: String,
    /// Where the tables are that it does not hold.
    root: Option<Url>,
}

/// Copies everything, or the catalog alone when the tables are in a remote store, and says what it was.
async fn make(settings: &Settings, catalog: &Path, into: &Path) -> Result<Made> {
    let fresh = || -> std::io::Result<()> {
        if into.exists() {
            std::fs::remove_dir_all(into)?;
        }
        crate::data_folder::create_private(into)
    };
    let mut gone = None;
    for _ in 0..MAX_STARTS {
        fresh().map_err(|e| unusable(into, &e))?;
        let (datasets, lake) = copy_catalog(settings, catalog, into).await?;
        let root = Url::parse(&settings.storage_root()).map_err(|e| Failure::usage(format!("storage.root: {e}")))?;
        if root.scheme() != "file" {
            return Ok(Made {
                what: format!(
                    "copied the catalog with {} datasets, and not the tables in {}: copy those with the means of their \
                     store,",
                    datasets.len(),
                    shown(&root)
                ),
                root: Some(root),
            });
        }
        let Some(lake) = lake else {
            return Ok(Made { what: "copied an instance without tables".to_owned(), root: None });
        };
        match copy_tables(settings, &root, lake, &datasets, into).await {
            Ok(bytes) => {
                let what = format!("copied {} datasets with {bytes} bytes", datasets.len());
                return Ok(Made { what, root: None });
            }
            Err((Some(dataset), LakeError::NoTable)) if gone != Some(dataset) => {
                tracing::info!("a dataset was deleted while it was copied; once more");
                gone = Some(dataset);
            }
            Err((Some(dataset), error @ (LakeError::NoTable | LakeError::Damaged(_)))) => {
                return Err(Failure::other(format!(
                    "the table in {dataset} of {} cannot be copied: {error}; put back what it has lost, or delete the \
                     dataset",
                    shown(&root)
                )));
            }
            Err((_, error)) => return Err(Failure::other(format!("the tables cannot be copied: {error}"))),
        }
    }
    Err(Failure::other("datasets are deleted faster than they can be copied; try again later"))
}

/// Copies the catalog and what else is in the data folder; answers what the copy lists.
async fn copy_catalog(
    settings: &Settings,
    catalog: &Path,
    into: &Path,
) -> Result<(Vec<lakegate_catalog::DatasetId>, Option<LakeId>)> {
    let copy = into.join("catalog.db");
    let failed = |e: &dyn std::fmt::Display| Failure::other(format!("the catalog cannot be copied: {e}"));
    SqlCatalog::copy_file(catalog, &copy).await.map_err(|e| failed(&e))?;
    for name in ["VERSION", "owner-token"] {
        let source = settings.data_dir.join(name);
        if source.exists() {
            // Its rights are copied too: the token stays its owner's alone.
            let copied = std::fs::copy(&source, into.join(name)).and_then(|_| File::open(into.join(name))?.sync_all());
            copied.map_err(|e| unusable(into, &e))?;
        }
    }
    let url = format!("sqlite:{}", copy.display());
    let opened = SqlCatalog::connect(&url, &SqlOptions::default()).await.map_err(|e| failed(&e))?;
    let (datasets, lake) = (opened.dataset_ids().await, opened.lake().await);
    opened.close().await;
    Ok((datasets.map_err(|e| failed(&e))?, lake.map_err(|e| failed(&e))?))
}

async fn copy_tables(
    settings: &Settings,
    root: &Url,
    id: LakeId,
    datasets: &[lakegate_catalog::DatasetId],
    into: &Path,
) -> Result<u64, (Option<lakegate_catalog::DatasetId>, LakeError)> {
    let target = into.join("lake").join("root");
    let bad = |why: String| (None, LakeError::BadStore { url: shown(root), why });
    let source = root.to_file_path().map_err(|()| bad("it is not a folder".to_owned()))?;
    // Marked as the same lake before it is opened, as the catalog's copy expects it.
    let marked = std::fs::create_dir_all(&target)
        .and_then(|()| std::fs::copy(source.join(MARKER), target.join(MARKER)))
        .and_then(|_| File::open(target.join(MARKER))?.sync_all());
    marked.map_err(|e| bad(e.to_string()))?;
    let open = async |root: Url| {
        let stores = serve::store_options(settings);
        let idempotency_window = settings.ingest.idempotency_window;
        let options = LakeOptions { root, stores, idempotency_window, which: Which::Known(id) };
        Lake::open(&options).await.map_err(|error| (None, error))
    };
    let to = Url::from_directory_path(&target).map_err(|()| bad("the target is not absolute".to_owned()))?;
    let (from, to) = (open(root.clone()).await?, open(to).await?);
    let mut bytes = 0;
    for dataset in datasets {
        let copied = from.copy_table(*dataset, &to).await.map_err(|error| (Some(*dataset), error))?;
        tracing::info!(%dataset, version = copied.version, bytes = copied.bytes, "copied");
        bytes += copied.bytes;
    }
    for folder in [&target, &into.join("lake")] {
        sync(folder).map_err(|e| bad(e.to_string()))?;
    }
    Ok(bytes)
}

/// Names a root as a lake.
const MARKER: &str = "lakegate.json";

fn sync(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

fn shown(url: &Url) -> String {
    format!("{}://{}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

fn unusable(folder: &Path, error: &std::io::Error) -> Failure {
    Failure::usage(format!("{} cannot be used for a backup: {error}", folder.display()))
}
