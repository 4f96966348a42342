//! The settings in effect as a TOML file, secrets hidden.

use crate::form::Printed;
use crate::keys::KEYS;
use crate::settings::Settings;

impl Settings {
    /// All settings as a file that would give the same ones, each under a line that explains it.
    /// Passwords in URLs are replaced by `***`.
    pub fn effective_toml(&self) -> String {
        let mut text = String::new();
        let mut section = "";
        for key in KEYS {
            let (of, name) = key.name.rsplit_once('.').unwrap_or(("", key.name));
            if of != section {
                text += &format!("\n[{of}]\n");
                section = of;
            }
            text += &format!("# {}\n{name} = {}\n", key.help, toml_value((key.get)(self)));
        }
        text
    }
}

fn toml_value(value: Printed) -> String {
    match value {
        Printed::Text(text) => toml::Value::String(hide_secrets(&text)).to_string(),
        plain => plain.to_string(),
    }
}

/// Parameters of database URLs that are secrets.
const SECRET_PARAMETERS: [&str; 3] = ["password", "sslpassword", "passfile"];

/// Hides the password of a URL, before its host or among its parameters. Any other text is unchanged.
///
/// It works on the text, not on a parsed URL, so that a URL that is *not* valid keeps its secret too:
/// everything from the first colon to the last `@` counts as password.
pub(crate) fn hide_secrets(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    if rest.starts_with('/') {
        return text.to_owned();
    }
    let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
    // A raw `?` in a password leaves its `@` on the other side.
    if query.is_some_and(|query| query.contains('@')) {
        return format!("{scheme}://***");
    }
    let shown = match rest.rsplit_once('@') {
        Some((user, host)) => match user.split_once(':') {
            Some((user, _)) => format!("{user}:***@{host}"),
            None => rest.to_owned(),
        },
        None => rest.to_owned(),
    };
    let parameters = query.map_or_else(String::new, |query| {
        format!("?{}", query.split('&').map(hide_parameter).collect::<Vec<_>>().join("&"))
    });
    format!("{scheme}://{shown}{parameters}")
}

fn hide_parameter(parameter: &str) -> String {
    match parameter.split_once('=') {
        Some((name, _)) if SECRET_PARAMETERS.iter().any(|secret| secret.eq_ignore_ascii_case(name)) => {
            format!("{name}=***")
        }
        _ => parameter.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::hide_secrets;

    #[test]
    fn secrets_are_hidden() {
        for (text, shown) in [
            ("postgres://ann:secret@db:5432/lake", "postgres://ann:***@db:5432/lake"),
            ("postgres://ann:s:e@c/r@db/lake", "postgres://ann:***@db/lake"),
            ("postgres://ann:sec?ret@db/lake", "postgres://***"),
            ("postgres://db/lake?user=ann&password=secret&x=1", "postgres://db/lake?user=ann&password=***&x=1"),
            ("postgres://ann@db/lake", "postgres://ann@db/lake"),
            ("s3://key:secret@bucket/lake", "s3://key:***@bucket/lake"),
            ("file:///srv/a:b@c", "file:///srv/a:b@c"),
            ("sqlite:/srv/a@b:c.db", "sqlite:/srv/a@b:c.db"),
        ] {
            assert_eq!(hide_secrets(text), shown);
        }
    }
}
