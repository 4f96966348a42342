//! What the `Content-Type` of a request says.

use axum::http::{HeaderMap, header};
use lakegate_catalog::ErrorKind;

use crate::problem::{Problem, Result};

/// The media type without its parameters, in lower case; `None` when there is none.
///
/// Errors: 415 for text that is not in UTF-8, and for a header that is sent twice.
pub(crate) fn media_type(headers: &HeaderMap) -> Result<Option<String>> {
    let mut sent = headers.get_all(header::CONTENT_TYPE).iter();
    let Some(value) = sent.next() else { return Ok(None) };
    if sent.next().is_some() {
        return Err(unsupported("send one Content-Type header"));
    }
    let Ok(text) = value.to_str() else { return Err(unsupported("the Content-Type header is not a media type")) };
    let mut parts = text.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
    match parts.filter_map(charset).find(|charset| !is_utf8(charset)) {
        None => Ok(Some(essence)),
        Some(other) => {
            let other: String = other.chars().take(40).collect();
            Err(unsupported(format!("text is read as UTF-8 here, not as `{other}`; send it in UTF-8")))
        }
    }
}

/// A 415.
pub(crate) fn unsupported(detail: impl Into<String>) -> Problem {
    Problem::new(ErrorKind::Unsupported, "unsupported_media_type", detail)
}

fn charset(parameter: &str) -> Option<&str> {
    let (name, value) = parameter.split_once('=')?;
    name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
}

/// ASCII is UTF-8 too.
fn is_utf8(charset: &str) -> bool {
    ["utf-8", "utf8", "us-ascii", "ascii"].iter().any(|name| charset.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Option<String> {
        media_type(&HeaderMap::from_iter([(header::CONTENT_TYPE, value.parse().expect("a header"))])).ok().flatten()
    }

    #[test]
    fn text_is_utf8() {
        for good in ["text/csv", "text/CSV; charset=UTF-8", "text/csv;header=present; Charset=\"utf-8\"", "text/csv;"] {
            assert_eq!(read(good).as_deref(), Some("text/csv"), "{good}");
        }
        for bad in ["text/csv; charset=utf-16", "text/csv;charset=iso-8859-1", "text/csv; charset="] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
