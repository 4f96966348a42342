//! Collects what settings are made from: the one place that reads environment and settings file.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use lakegate_config::{Settings, Sources, search_path};
use lakegate_lake::StoreEnvironment;

use crate::cli::{Cli, Command};
use crate::failure::{Failure, Result, say};

/// A settings file larger than this is something else.
const MAX_FILE: u64 = 1 << 20;

/// The settings in effect for this command line.
pub(crate) fn load(cli: &Cli) -> Result<Settings> {
    let env: Vec<_> = environment().collect();
    let working_dir = std::env::current_dir().map_err(|e| Failure::other(format!("no working directory: {e}")))?;
    let file = read_first(&search_path(cli.config.as_deref(), &env), cli.config.is_some())?;
    let sources = Sources { flags: flags(cli)?, env, file, working_dir };
    Settings::from_sources(&sources).map_err(|e| Failure::usage(e.to_string()))
}

/// The variables whose name and value are text.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
}

/// Where remote stores find credentials, and what else the clouds' own tools read.
pub(crate) fn store_environment() -> StoreEnvironment {
    StoreEnvironment::new(environment())
}

fn flags(cli: &Cli) -> Result<Vec<(String, String)>> {
    let mut flags = Vec::new();
    for setting in &cli.settings {
        let pair = setting.split_once('=');
        let (key, value) = pair.ok_or_else(|| Failure::usage(format!("--set {setting}: write KEY=VALUE")))?;
        flags.push((key.trim().to_owned(), value.trim().to_owned()));
    }
    if let Some(folder) = &cli.data_dir {
        flags.push(("data_dir".to_owned(), folder.display().to_string()));
    }
    let listen = match &cli.command {
        Command::Serve(serve) => serve.listen,
        Command::Demo(demo) => demo.listen,
        _ => None,
    };
    flags.extend(listen.map(|address| ("rest.listen".to_owned(), address.to_string())));
    Ok(flags)
}

fn read_first(candidates: &[PathBuf], named: bool) -> Result<Option<(PathBuf, String)>> {
    for path in candidates {
        match read(path) {
            Ok(text) => return Ok(Some((path.clone(), text))),
            Err(error) if error.kind() == ErrorKind::NotFound && !named => {}
            Err(error) => return Err(Failure::usage(format!("cannot read settings from {}: {error}", path.display()))),
        }
    }
    Ok(None)
}

fn read(path: &Path) -> std::io::Result<String> {
    if std::fs::metadata(path)?.len() > MAX_FILE {
        return Err(std::io::Error::other("the file is larger than 1 MiB"));
    }
    std::fs::read_to_string(path)
}

/// `lakegate config`.
pub(crate) fn command(cli: &Cli) -> Result<()> {
    say(load(cli)?.effective_toml().trim_end());
    Ok(())
}
