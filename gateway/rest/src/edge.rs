//! What is checked of every request before anything else is done, and what is known of who stands between.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Uri, Version};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use lakegate_catalog::ErrorKind;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::app::App;
use crate::problem::{Problem, Result};

/// Bytes of a request's URL.
const MAX_URL: usize = 16 << 10;
/// Header lines of a request, and bytes of all of them together.
const MAX_HEADERS: usize = 100;
const MAX_HEADER_BYTES: usize = 32 << 10;

/// Reads the trace that a request belongs to from its headers, and makes the span part of it.
pub type Adopt = Arc<dyn Fn(&tracing::Span, &HeaderMap) + Send + Sync>;

/// How this service is reached.
#[derive(Clone, Default)]
pub struct Edge {
    /// Whether only this machine can reach the listener. Then the `Host` of a request must be a name of it: a page
    /// whose own name was made to point here is refused (DNS rebinding).
    pub loopback: bool,
    /// Where clients reach the service, without a slash at the end.
    pub public_url: Option<String>,
    /// Origins whose pages may call; `*` is any.
    pub cors_origins: Vec<String>,
    /// Whether the `X-Forwarded-*` headers of this address are believed; none are when there is nothing here.
    pub trusted: Option<Arc<dyn Fn(IpAddr) -> bool + Send + Sync>>,
    /// Where traces are kept.
    pub adopt: Option<Adopt>,
}

impl Edge {
    /// What pages of other origins may send and read; `None` when none may.
    pub(crate) fn cors(&self) -> Option<CorsLayer> {
        const SENT: [&str; 11] = [
            "accept",
            "authorization",
            "content-encoding",
            "content-type",
            "idempotency-key",
            "if-match",
            "if-none-match",
            "lakegate-query-id",
            "traceparent",
            "tracestate",
            "x-request-id",
        ];
        const READ: [&str; 7] = [
            "etag",
            "lakegate-next-cursor",
            "lakegate-query-id",
            "lakegate-versions",
            "location",
            "retry-after",
            "x-request-id",
        ];
        let origins = match self.cors_origins.as_slice() {
            [] => return None,
            all if all.iter().any(|origin| origin == "*") => AllowOrigin::any(),
            some => AllowOrigin::list(some.iter().filter_map(|origin| HeaderValue::from_str(origin).ok())),
        };
        let methods = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
        let layer = CorsLayer::new()
            .allow_origin(origins)
            .allow_methods(methods)
            .allow_headers(SENT.map(HeaderName::from_static))
            .expose_headers(READ.map(HeaderName::from_static))
            .max_age(std::time::Duration::from_secs(600));
        Some(layer)
    }

    fn admit(&self, version: Version, uri: &Uri, headers: &HeaderMap) -> Result<()> {
        if uri.path_and_query().map_or(0, |url| url.as_str().len()) > MAX_URL {
            let detail = format!("this URL has more than {MAX_URL} bytes; send the statement with POST");
            return Err(Problem::new(ErrorKind::TooLarge, "uri_too_long", detail));
        }
        let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        if headers.len() > MAX_HEADERS || bytes > MAX_HEADER_BYTES {
            let detail =
                format!("a request may have at most {MAX_HEADERS} headers of {MAX_HEADER_BYTES} bytes together");
            return Err(Problem::new(ErrorKind::TooLarge, "headers_too_large", detail));
        }
        if headers.get_all(header::HOST).iter().nth(1).is_some() {
            return Err(Problem::invalid("this request has more than one Host header"));
        }
        match host(uri, headers) {
            None if version == Version::HTTP_11 => Err(Problem::invalid("this request has no Host header")),
            Some(host) if self.loopback && !self.is_ours(&host) => {
                let host: String = host.chars().take(100).collect();
                let detail = format!(
                    "this gateway listens on this machine alone and does not answer as `{host}`; call it by localhost, or \
                     set rest.public_url to the address that clients use"
                );
                Err(Problem::new(ErrorKind::Denied, "host_not_allowed", detail))
            }
            _ => Ok(()),
        }
    }

    fn is_ours(&self, host: &str) -> bool {
        let name = without_port(host);
        let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        name == "localhost"
            || address.is_ok_and(|address| address.to_canonical().is_loopback())
            || self.public_url.as_deref().and_then(authority).is_some_and(|public| without_port(public) == name)
    }

    fn believes(&self, peer: Option<IpAddr>) -> bool {
        self.trusted.as_ref().zip(peer).is_some_and(|(trusted, peer)| trusted(peer))
    }

    /// Where the client reached the service, without a slash at the end: as set, else as a trusted proxy says, else
    /// as the request does. `None` when nobody says.
    pub(crate) fn base(&self, request: &Request) -> Option<String> {
        if let Some(public) = &self.public_url {
            return Some(public.clone());
        }
        let headers = request.headers();
        if self.believes(peer(request)) {
            let forwarded = first(headers, "x-forwarded-host").filter(|host| plain(host));
            let scheme = first(headers, "x-forwarded-proto").filter(|scheme| matches!(*scheme, "http" | "https"));
            if let Some(host) = forwarded {
                return Some(format!("{}://{host}", scheme.unwrap_or("http")));
            }
        }
        host(request.uri(), headers).filter(|host| plain(host)).map(|host| format!("http://{host}"))
    }

    /// Who really asks: the last address that no trusted proxy has.
    pub(crate) fn client(&self, request: &Request) -> Option<IpAddr> {
        Some(self.behind(peer(request)?, request.headers()))
    }

    fn behind(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let forwarded = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
        let chain: Vec<&str> = forwarded.flat_map(|value| value.split(',')).collect();
        let mut client = peer;
        for hop in chain.iter().rev() {
            if !self.believes(Some(client)) {
                break;
            }
            let Ok(address) = hop.trim().parse() else { break };
            client = address;
        }
        client
    }
}

/// Who really asks, for a handler; `None` when the connection does not say.
pub(crate) struct Client(pub(crate) Option<IpAddr>);

impl FromRequestParts<Arc<App>> for Client {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
        Ok(Self(peer.map(|peer| app.edge.behind(peer, &parts.headers))))
    }
}

fn peer(request: &Request) -> Option<IpAddr> {
    request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip())
}

/// The host that the client named, in lower case.
fn host(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let named = headers.get(header::HOST).map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned());
    named.or_else(|| uri.authority().map(ToString::to_string)).map(|host| host.to_ascii_lowercase())
}

fn authority(url: &str) -> Option<&str> {
    url.split_once("://")?.1.split('/').next()
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    }
}

/// Whether the text is a host and a port, and nothing that would read as something else within a URL.
fn plain(host: &str) -> bool {
    !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_:[]".contains(&b))
}

fn first<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()?.split(',').next().map(str::trim)
}

/// The middleware that refuses what no handler should see.
pub(crate) async fn admit(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    match app.edge.admit(request.version(), request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge() -> Edge {
        let trusted = |address: IpAddr| address.to_string().starts_with("10.");
        let public_url = Some("https://data.example.org".to_owned());
        Edge { loopback: true, public_url, trusted: Some(Arc::new(trusted)), ..Edge::default() }
    }

    #[test]
    fn only_names_of_this_machine_and_the_public_one_are_answered() {
        for good in ["localhost", "LOCALHOST:7780", "127.0.0.1:7780", "127.9.9.9", "[::1]:80", "data.example.org"] {
            assert!(edge().is_ours(&good.to_ascii_lowercase()), "{good}");
        }
        for bad in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "[::2]", "", ":80"]
        {
            assert!(!edge().is_ours(bad), "{bad}");
        }
    }

    fn request(peer: [u8; 4], headers: &[(&'static str, &str)]) -> Request {
        let mut request = Request::new(axum::body::Body::empty());
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from((peer, 1))));
        for (name, value) in headers {
            request.headers_mut().append(*name, value.parse().expect("a header"));
        }
        request
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let forwarded = [
            ("host", "inner:80"),
            ("x-forwarded-host", "outer.example"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-for", "1.1.1.1, 203.0.113.9, 10.0.0.2"),
        ];
        let edge = Edge { public_url: None, ..edge() };
        let believed = request([10, 0, 0, 1], &forwarded);
        assert_eq!(edge.base(&believed).as_deref(), Some("https://outer.example"));
        assert_eq!(edge.client(&believed).map(|ip| ip.to_string()).as_deref(), Some("203.0.113.9"));
        let stranger = request([203, 0, 113, 7], &forwarded);
        assert_eq!(edge.base(&stranger).as_deref(), Some("http://inner:80"));
        assert_eq!(edge.client(&stranger).map(|ip| ip.to_string()).as_deref(), Some("203.0.113.7"));
        let strange = request([10, 0, 0, 1], &[("host", "a\"><script>")]);
        assert_eq!(edge.base(&strange), None);
    }
}
