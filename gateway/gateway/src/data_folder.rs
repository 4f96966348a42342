//! The data folder: one process at a time (`LOCK`), one format (`VERSION`), the owner's first token.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use lakegate_catalog::{ApiToken, Catalog, CatalogError, NewPrincipal, NewToken, PrincipalKind, TokenScope};

use crate::failure::{Failure, Result};

/// The format of the folder; a newer one is refused, an older one is migrated after a copy of the catalog.
const FORMAT: u32 = 1;
/// The name of the principal that owns a new instance.
const OWNER: &str = "owner";
/// The name of the principal that gateways are to the companion.
const GATEWAY: &str = "gateway";

/// A data folder that this process holds.
pub(crate) struct DataFolder {
    path: PathBuf,
    _lock: File,
}

impl DataFolder {
    /// Creates the folder if it is missing, and takes it. Errors say what to change.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        create_private(path).map_err(|e| unusable(path, &e))?;
        let lock = lock(path)?;
        let folder = Self { path: path.to_owned(), _lock: lock };
        folder.check_format()?;
        Ok(folder)
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn check_format(&self) -> Result<()> {
        let file = self.join("VERSION");
        let found = match std::fs::read_to_string(&file) {
            Ok(text) => text.trim().parse::<u32>().ok(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return self.write_durably("VERSION", format!("{FORMAT}\n").as_bytes());
            }
            Err(error) => return Err(unusable(&self.path, &error)),
        };
        match found {
            Some(FORMAT) => Ok(()),
            Some(newer) if newer > FORMAT => Err(Failure::usage(format!(
                "{} was written by a newer lakegate (format {newer}, this one knows {FORMAT}); use that version, or another \
                 folder with --data-dir",
                self.path.display()
            ))),
            _ => Err(Failure::usage(format!(
                "{} does not hold a format number; it is not a data folder of lakegate, choose another with --data-dir",
                file.display()
            ))),
        }
    }

    /// Creates the first owner of a new instance and leaves its token in `owner-token`. Answers the
    /// token when it is new.
    pub(crate) async fn ensure_owner(&self, catalog: &dyn Catalog) -> Result<Option<ApiToken>> {
        // Written before it works, and taken up again by the next start: a crash in between never leaves
        // an owner whose token nobody has.
        let new = self.join("owner-token.new");
        let begun = std::fs::read_to_string(&new).ok().and_then(|text| ApiToken::parse(text.trim()));
        let token = begun.unwrap_or_else(ApiToken::generate);
        self.write_durably("owner-token.new", format!("{}\n", token.reveal()).as_bytes())?;
        let unusable_catalog = |e| Failure::other(format!("the catalog cannot be used: {e}"));
        let owner = NewPrincipal { name: OWNER.to_owned(), kind: PrincipalKind::User, external: None };
        let created = catalog.create_first_owner(owner, &token.hash()).await.map_err(unusable_catalog)?;
        let works = created.is_some()
            || catalog.authenticate(&token.hash(), chrono::Utc::now()).await.map_err(unusable_catalog)?.is_some();
        let kept = self.join("owner-token");
        if created.is_some() && kept.exists() {
            // Of another catalog, which may come back.
            std::fs::rename(&kept, self.join("owner-token.old")).map_err(|e| unusable(&self.path, &e))?;
        }
        let renamed = if works { std::fs::rename(&new, kept) } else { std::fs::remove_file(&new) };
        renamed.map_err(|e| unusable(&self.path, &e))?;
        Ok(works.then_some(token))
    }

    /// The token by which gateways are known to the companion, in `gateway-token`; made when there is none that works.
    pub(crate) async fn ensure_gateway(&self, catalog: &dyn Catalog) -> Result<PathBuf> {
        let unusable_catalog = |e| Failure::other(format!("the catalog cannot be used: {e}"));
        let kept = self.join("gateway-token");
        let known = std::fs::read_to_string(&kept).ok().and_then(|text| ApiToken::parse(text.trim()));
        if let Some(token) = known
            && catalog.authenticate(&token.hash(), chrono::Utc::now()).await.map_err(unusable_catalog)?.is_some()
        {
            return Ok(kept);
        }
        let new = NewPrincipal { name: GATEWAY.to_owned(), kind: PrincipalKind::Gateway, external: None };
        let gateway = match catalog.create_principal(new).await {
            Ok(gateway) => Some(gateway),
            Err(CatalogError::AlreadyExists { .. }) => {
                catalog.principal_by_name(GATEWAY).await.map_err(unusable_catalog)?
            }
            Err(error) => return Err(unusable_catalog(error)),
        };
        let gateway = gateway.filter(|gateway| gateway.kind == PrincipalKind::Gateway).ok_or_else(|| {
            Failure::other(format!("the catalog has a principal `{GATEWAY}` that is no gateway: delete it first"))
        })?;
        // Written before it works: a crash in between leaves a file that the next start replaces.
        let token = ApiToken::generate();
        self.write_durably("gateway-token", format!("{}\n", token.reveal()).as_bytes())?;
        let new = NewToken {
            principal: gateway.id,
            name: GATEWAY.to_owned(),
            hash: token.hash(),
            expires_at: None,
            scope: TokenScope::default(),
        };
        catalog.create_token(new).await.map_err(unusable_catalog)?;
        Ok(kept)
    }

    fn write_durably(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let write = || -> std::io::Result<()> {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true);
            private(&mut options);
            let mut file = options.open(self.join(name))?;
            file.write_all(bytes)?;
            file.sync_all()?;
            File::open(&self.path)?.sync_all()
        };
        write().map_err(|e| unusable(&self.path, &e))
    }
}

/// A new folder is for its owner alone: what is private in the catalog is private on the disk too.
pub(crate) fn create_private(path: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

#[cfg(unix)]
fn private(options: &mut OpenOptions) {
    use std::os::unix::fs::OpenOptionsExt as _;
    options.mode(0o600);
}

#[cfg(not(unix))]
fn private(_options: &mut OpenOptions) {}

/// Takes `LOCK`, or names who holds it. The system releases it when the process ends, however it ends.
fn lock(folder: &Path) -> Result<File> {
    let path = folder.join("LOCK");
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = opened.map_err(|e| unusable(folder, &e))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // What the holder wrote is a courtesy; without it the message is only less helpful.
            let _ = (&file).take(200).read_to_string(&mut holder);
            return Err(Failure::usage(format!(
                "{} is in use by another lakegate ({}); stop it, or choose another folder with --data-dir",
                folder.display(),
                holder.trim()
            )));
        }
        Err(TryLockError::Error(error)) => return Err(unusable(folder, &error)),
    }
    let holder = format!("process {} since {}\n", std::process::id(), now());
    let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(holder.as_bytes()));
    written.map_err(|e| unusable(folder, &e))?;
    Ok(file)
}

fn now() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    chrono::DateTime::from_timestamp(i64::try_from(since.as_secs()).unwrap_or_default(), 0)
        .map_or_else(String::new, |t| t.to_rfc3339_opts(chrono::SecondsFormat::Secs, true))
}

fn unusable(folder: &Path, error: &std::io::Error) -> Failure {
    Failure::usage(format!(
        "the data folder {} cannot be used: {error}; choose one that is writable with --data-dir",
        folder.display()
    ))
}

/// The token that a first start left in a data folder, for the commands that talk to a gateway.
pub(crate) fn owner_token(folder: &Path) -> Option<String> {
    let text = std::fs::read_to_string(folder.join("owner-token")).ok()?;
    ApiToken::parse(text.trim()).map(|token| token.reveal().to_owned())
}
