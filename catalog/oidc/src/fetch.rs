//! Asking an issuer for its keys.

use std::error::Error as _;
use std::time::Duration;

use reqwest::{Client, StatusCode, header};
use serde_json::Value;
use url::Url;

use crate::address::is_safe;
use crate::json;
use crate::jwks::KeySet;
use crate::settings::{Issuer, Place, Reach, SettingsError};

/// From the first request to the last byte of the keys.
const DEADLINE: Duration = Duration::from_secs(5);

/// Bytes of an answer.
const MAX_ANSWER: usize = 1 << 20;

/// Why keys did not come. For the operator's log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("{url}: {}", causes(.source))]
    Http { url: Url, source: reqwest::Error },
    #[error("no answer within 5 seconds")]
    Late,
    #[error("{url} answered {status}")]
    Status { url: Url, status: StatusCode },
    #[error("{url} answered more than 1 MiB")]
    TooLarge { url: Url },
    #[error("{url} does not describe an issuer: `issuer` and `jwks_uri` must be there, once")]
    NotADescription { url: Url },
    #[error("{url} is of another issuer than the settings: they must be equal, a `/` at the end counts")]
    AnotherIssuer { url: Url },
    #[error("{url} says that the keys are at an address that is not https")]
    UnsafeKeys { url: Url },
    #[error("{url} did not answer with a set of at most 100 keys")]
    NotKeys { url: Url },
}

/// The whole chain: the outer error says no more than that a request failed.
fn causes(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// An issuer, to be asked.
#[derive(Debug)]
pub(crate) struct Source {
    http: Client,
    issuer: String,
    reach: Reach,
}

impl Source {
    pub(crate) fn new(issuer: &Issuer) -> Result<Self, SettingsError> {
        let reach = Reach::read(issuer)?;
        let mut http = Client::builder()
            .timeout(DEADLINE)
            // Asked once an hour, and by whatever runtime needs a key first: no connection outlives its request.
            .pool_max_idle_per_host(0)
            // Keys come from where the settings say, and nowhere else.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy();
        for certificate in &reach.certificates {
            http = http.add_root_certificate(certificate.clone());
        }
        let name = issuer.issuer.clone();
        let http = http.build().map_err(|source| SettingsError::Client { issuer: name.clone(), source })?;
        Ok(Self { http, issuer: name, reach })
    }

    pub(crate) async fn fetch(&self) -> Result<KeySet, FetchError> {
        tokio::time::timeout(DEADLINE, self.ask()).await.unwrap_or(Err(FetchError::Late))
    }

    async fn ask(&self) -> Result<KeySet, FetchError> {
        let url = match &self.reach.place {
            Place::Keys(url) => url.clone(),
            Place::Description(url) => self.discover(url).await?,
        };
        let answer = self.get(&url).await?;
        KeySet::read(&answer).ok_or(FetchError::NotKeys { url })
    }

    /// Where the issuer says that its keys are.
    async fn discover(&self, url: &Url) -> Result<Url, FetchError> {
        let description = json::object(&self.get(url).await?);
        let text = |name: &str| description.as_ref().and_then(|it| it.get(name)).and_then(Value::as_str);
        let (Some(issuer), Some(keys)) = (text("issuer"), text("jwks_uri")) else {
            return Err(FetchError::NotADescription { url: url.clone() });
        };
        if issuer != self.issuer {
            return Err(FetchError::AnotherIssuer { url: url.clone() });
        }
        let keys = keys.parse().ok().filter(|keys| may_be_sent_to(keys, self.reach.loopback));
        keys.ok_or_else(|| FetchError::UnsafeKeys { url: url.clone() })
    }

    async fn get(&self, url: &Url) -> Result<Vec<u8>, FetchError> {
        let failed = |source: reqwest::Error| FetchError::Http { url: url.clone(), source: source.without_url() };
        let asked = self.http.get(url.clone()).header(header::ACCEPT, "application/json");
        let mut answer = asked.send().await.map_err(failed)?;
        if answer.status() != StatusCode::OK {
            return Err(FetchError::Status { url: url.clone(), status: answer.status() });
        }
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(failed)? {
            if body.len() + piece.len() > MAX_ANSWER {
                return Err(FetchError::TooLarge { url: url.clone() });
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }
}

/// Whether an issuer may say that its keys are there: in plain text on this machine only if it is here itself, else
/// whoever runs it could have us ask what nobody outside may ask.
fn may_be_sent_to(keys: &Url, loopback: bool) -> bool {
    is_safe(keys) && (keys.scheme() == "https" || loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_elsewhere_does_not_send_us_to_this_machine_in_plain_text() {
        let allowed = |url: &str, loopback| may_be_sent_to(&url.parse().expect(url), loopback);
        for url in ["http://127.0.0.1/keys", "http://[::1]:8080/keys", "http://localhost/keys"] {
            assert!(!allowed(url, false), "{url}");
            assert!(allowed(url, true), "{url}");
        }
        for loopback in [true, false] {
            assert!(allowed("https://keys.example.com/a?b=c", loopback));
            assert!(!allowed("http://keys.example.com/a", loopback));
        }
    }
}
