//! Where settings and data are looked for when nothing says so.

use std::path::{Path, PathBuf};

/// The value of a variable that is set and not empty.
pub(crate) fn variable<'a>(env: &'a [(String, String)], name: &str) -> Option<&'a str> {
    env.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str())
}

/// A folder of the XDG base directory specification: the variable, if absolute, else below the home.
fn xdg(env: &[(String, String)], name: &str, below_home: &str) -> Option<PathBuf> {
    let set = variable(env, name).map(PathBuf::from).filter(|path| path.is_absolute());
    set.or_else(|| variable(env, "HOME").map(|home| Path::new(home).join(below_home)))
}

/// The files to look for, in order; the first that exists counts, the others are not read.
///
/// With `--config FILE` it is that file alone, and its absence is an error. Otherwise
/// `./lakegate.toml`, then `$XDG_CONFIG_HOME/lakegate/lakegate.toml` (by default under `~/.config`), and it
/// is fine when neither exists.
pub fn search_path(config: Option<&Path>, env: &[(String, String)]) -> Vec<PathBuf> {
    if let Some(file) = config {
        return vec![file.to_owned()];
    }
    let user = xdg(env, "XDG_CONFIG_HOME", ".config").map(|folder| folder.join("lakegate").join("lakegate.toml"));
    std::iter::once(PathBuf::from("lakegate.toml")).chain(user).collect()
}

/// `$XDG_DATA_HOME/lakegate`, by default under `~/.local/share`.
pub(crate) fn default_data_dir(env: &[(String, String)]) -> Option<PathBuf> {
    xdg(env, "XDG_DATA_HOME", ".local/share").map(|folder| folder.join("lakegate"))
}

/// The folder as an absolute path: `~/` is the home, anything relative is below the working directory.
pub(crate) fn absolute(path: &Path, env: &[(String, String)], working_dir: &Path) -> PathBuf {
    match (path.strip_prefix("~"), variable(env, "HOME")) {
        (Ok(below), Some(home)) => Path::new(home).join(below),
        _ => working_dir.join(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn files_are_looked_for_in_order() {
        let home = env(&[("HOME", "/home/ann")]);
        assert_eq!(search_path(Some(Path::new("a.toml")), &home), [Path::new("a.toml")]);
        let expected = ["lakegate.toml", "/home/ann/.config/lakegate/lakegate.toml"].map(PathBuf::from);
        assert_eq!(search_path(None, &home), expected);
        let xdg = env(&[("HOME", "/home/ann"), ("XDG_CONFIG_HOME", "/etc/ann")]);
        assert_eq!(search_path(None, &xdg)[1], Path::new("/etc/ann/lakegate/lakegate.toml"));
        assert_eq!(search_path(None, &[]), [Path::new("lakegate.toml")]);
    }

    #[test]
    fn the_data_folder_follows_xdg() {
        let of = |pairs: &[(&str, &str)]| default_data_dir(&env(pairs));
        assert_eq!(of(&[("HOME", "/h")]), Some("/h/.local/share/lakegate".into()));
        assert_eq!(of(&[("HOME", "/h"), ("XDG_DATA_HOME", "/d")]), Some("/d/lakegate".into()));
        assert_eq!(of(&[("HOME", "/h"), ("XDG_DATA_HOME", "d")]), Some("/h/.local/share/lakegate".into()));
        assert_eq!(of(&[("HOME", "")]), None);
    }
}
