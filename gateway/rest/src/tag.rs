//! The `ETag` of an answer: a hash over everything that decides its rows.

use std::sync::LazyLock;
use std::time::UNIX_EPOCH;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use lakegate_catalog::Caller;
use lakegate_formats::Format;
use lakegate_query::{Params, QueryRequest};
use sha2::{Digest, Sha256};

/// What this program is: another build may answer the same question otherwise.
static BUILD: LazyLock<String> = LazyLock::new(|| {
    let program = std::env::current_exe().and_then(std::fs::metadata);
    let made = program.ok().map(|file| {
        let modified = file.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        (file.len(), modified.unwrap_or_default().as_nanos())
    });
    format!("{} {made:?}", env!("CARGO_PKG_VERSION"))
});

/// A question, but for what it reads.
pub(crate) struct Asked(Sha256);

impl Asked {
    /// Statement, parameters, limit, format, caller and build. The caller stands for its rights; whether it may see
    /// what it names is asked anew each time, before the tag is compared.
    pub(crate) fn of(request: &QueryRequest, format: Format, caller: &Caller) -> Self {
        let params = match &request.params {
            Params::None | Params::Later => String::new(),
            Params::Typed(values) => format!("{values:?}"),
            Params::Positional(values) => serde_json::Value::Array(values.clone()).to_string(),
            Params::Named(values) => serde_json::Value::Object(values.clone()).to_string(),
        };
        let limit = request.limit.map(|limit| limit.to_string()).unwrap_or_default();
        let caller = caller.principal().map(|principal| principal.id.to_string()).unwrap_or_default();
        let mut hash = Sha256::new();
        for part in [request.sql.as_str(), &params, &limit, format.media_type(), &caller, BUILD.as_str()] {
            // With its length, so that no two questions run into the same text.
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(hash)
    }

    /// The tag, now that it is known what is read.
    pub(crate) fn tag(mut self, read: &str) -> Tag {
        self.0.update(read);
        let hash = self.0.finalize();
        Tag(hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect())
    }
}

/// A weak tag: the same rows, though ids and times around them differ.
pub(crate) struct Tag(String);

impl Tag {
    fn text(&self) -> String {
        format!("W/\"{}\"", self.0)
    }

    /// Whether the client has an answer with this tag, or any (`*`).
    pub(crate) fn is_among(&self, headers: &HeaderMap) -> bool {
        let sent = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        let mut tags = sent.flat_map(|value| value.split(',')).map(str::trim);
        tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"') == self.0)
    }

    /// The headers that let a cache keep the answer and ask before it uses it.
    pub(crate) fn put(&self, caller: &Caller, headers: &mut HeaderMap) {
        if let Ok(tag) = HeaderValue::from_str(&self.text()) {
            headers.insert(header::ETAG, tag);
        }
        let control = match caller {
            Caller::Anonymous => "public, no-cache",
            Caller::Known(_) => "private, no-cache",
        };
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(control));
        headers.insert(header::VARY, HeaderValue::from_static("Accept, Accept-Encoding, Authorization"));
    }

    /// The answer to a client that has it already.
    pub(crate) fn not_modified(&self, caller: &Caller) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        self.put(caller, response.headers_mut());
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_decides_the_rows_is_in_the_tag() {
        let request = || QueryRequest { sql: "SELECT 1".to_owned(), ..QueryRequest::default() };
        let tag =
            |request: QueryRequest, format, read: &str| Asked::of(&request, format, &Caller::Anonymous).tag(read).0;
        let first = tag(request(), Format::Json, "a=1");
        assert_eq!(first, tag(request(), Format::Json, "a=1"));
        let others = [
            tag(request(), Format::Csv, "a=1"),
            tag(request(), Format::Json, "a=2"),
            tag(QueryRequest { limit: Some(1), ..request() }, Format::Json, "a=1"),
            tag(QueryRequest { params: Params::Positional(vec![1.into()]), ..request() }, Format::Json, "a=1"),
            tag(QueryRequest { sql: "SELECT 1 ".to_owned(), ..request() }, Format::Json, "a=1"),
        ];
        assert!(others.iter().all(|other| *other != first), "{others:?}");
    }

    #[test]
    fn a_client_may_send_several_tags() {
        let tag = Tag("ab".to_owned());
        for (sent, among) in [("W/\"ab\"", true), ("\"x\", \"ab\"", true), ("\"abc\"", false), ("*", true), ("", false)]
        {
            let headers = HeaderMap::from_iter([(header::IF_NONE_MATCH, sent.parse().expect("header"))]);
            assert_eq!(tag.is_among(&headers), among, "{sent}");
        }
    }
}
