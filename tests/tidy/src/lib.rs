//! What the tests of this crate look at: the workspace as `cargo metadata` tells it, and the files
//! of the checkout. It builds nothing and reads no network.
//!
//! The rules themselves are tables in `tests/`, one file per subject: [`Workspace`] and [`Tree`] are
//! only the eyes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The result of looking at the workspace.
pub type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// One package of the resolved dependency graph.
#[derive(Clone, Debug)]
pub struct Package {
    /// The crate's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its licence expression, empty when it states none.
    pub licence: String,
    /// Its one-line description, empty when it has none.
    pub description: String,
    /// Where its manifest is.
    pub manifest: PathBuf,
    /// Whether it is a member of this workspace.
    pub ours: bool,
    /// Names of the packages that its library or binary is built with (not its tests).
    pub uses: BTreeSet<String>,
    /// Names of the packages that its tests are built with besides.
    pub tests_use: BTreeSet<String>,
}

/// The workspace and everything it is built from.
#[derive(Clone, Debug)]
pub struct Workspace {
    /// Every package, ours and others', by name and version.
    pub packages: Vec<Package>,
}

impl Workspace {
    /// Reads `cargo metadata` of this checkout, as the lock file resolves it.
    pub fn read() -> Result<Self> {
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", "--locked"])
            .current_dir(root())
            .output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        Self::parse(&serde_json::from_slice(&output.stdout)?)
    }

    fn parse(metadata: &Value) -> Result<Self> {
        let members: BTreeSet<&str> = array(&metadata["workspace_members"]).filter_map(Value::as_str).collect();
        let names: HashMap<&str, &str> =
            array(&metadata["packages"]).filter_map(|p| Some((p["id"].as_str()?, p["name"].as_str()?))).collect();
        let edges: HashMap<&str, &Value> =
            array(&metadata["resolve"]["nodes"]).filter_map(|n| Some((n["id"].as_str()?, &n["deps"]))).collect();
        let packages = array(&metadata["packages"])
            .map(|package| {
                let id = package["id"].as_str().ok_or("a package without id")?;
                let deps = edges.get(id).copied().unwrap_or(&Value::Null);
                Ok(Package {
                    name: text(&package["name"]),
                    version: text(&package["version"]),
                    licence: text(&package["license"]),
                    description: text(&package["description"]),
                    manifest: PathBuf::from(text(&package["manifest_path"])),
                    ours: members.contains(id),
                    uses: dependencies(deps, &names, |kind| kind != Some("dev")),
                    tests_use: dependencies(deps, &names, |kind| kind == Some("dev")),
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self { packages })
    }

    /// The members of this workspace.
    pub fn ours(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|p| p.ours)
    }

    /// The packages of others.
    pub fn others(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|p| !p.ours)
    }

    /// Every version of each package name in the tree.
    pub fn versions(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut versions = BTreeMap::<_, Vec<_>>::new();
        for package in &self.packages {
            versions.entry(package.name.as_str()).or_default().push(package.version.as_str());
        }
        versions
    }
}

fn dependencies(deps: &Value, names: &HashMap<&str, &str>, wanted: impl Fn(Option<&str>) -> bool) -> BTreeSet<String> {
    array(deps)
        .filter(|dep| array(&dep["dep_kinds"]).any(|kind| wanted(kind["kind"].as_str())))
        .filter_map(|dep| names.get(dep["pkg"].as_str()?).map(|name| (*name).to_owned()))
        .collect()
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The root of the checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The files of the checkout, without what version control ignores.
#[derive(Clone, Debug)]
pub struct Tree {
    /// Paths relative to the root, with `/`, sorted.
    pub files: Vec<String>,
}

impl Tree {
    /// Folders that hold what was built or fetched, and version control itself.
    const NOT_OURS: [&str; 5] = [".git", ".venv", "target", "__pycache__", "node_modules"];

    /// Walks the checkout.
    pub fn read() -> Result<Self> {
        let mut files = Vec::new();
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            for entry in root().join(&folder).read_dir()? {
                let entry = entry?;
                let name = entry.file_name();
                let path = folder.join(&name);
                if !entry.file_type()?.is_dir() {
                    files.push(path.to_string_lossy().replace('\\', "/"));
                } else if !Self::NOT_OURS.iter().any(|skipped| *skipped == name) {
                    folders.push(path);
                }
            }
        }
        files.sort();
        Ok(Self { files })
    }

    /// The files whose name ends in `.extension`, with their text; files that are not text are left out.
    pub fn texts<'a>(&'a self, extensions: &'a [&str]) -> impl Iterator<Item = (&'a str, String)> {
        self.files
            .iter()
            .filter(move |path| extensions.iter().any(|e| path.rsplit('.').next() == Some(*e)))
            .filter_map(|path| Some((path.as_str(), std::fs::read_to_string(root().join(path)).ok()?)))
    }
}
