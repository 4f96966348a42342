//! The small REST client of the commands that talk to a gateway.

use std::time::Duration;

use lakegate_catalog::ApiToken;
use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;

use crate::causes::{self, Reason};
use crate::failure::{Failure, Result};

/// A gateway, and as whom to talk to it.
pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
    token: Option<String>,
}

impl Client {
    pub(crate) fn new(url: &str, token: Option<String>) -> Result<Self> {
        if token.as_deref().is_some_and(|token| ApiToken::parse(token).is_none()) {
            return Err(Failure::usage("the token is not a Lakegate token (lg_ and 38 characters)"));
        }
        let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(10))
            .build()
            .map_err(|e| Failure::other(causes::all(&e)))?;
        Ok(Self { http, url: url.trim_end_matches('/').to_owned(), token })
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Sends, and turns a problem document into its words.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Response, Problem> {
        let response = request.send().await.map_err(|error| Problem::unreachable(&self.url, &error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let document: Value = response.json().await.unwrap_or_default();
        Err(Problem::from_document(status, &document))
    }

    pub(crate) async fn json(&self, request: RequestBuilder) -> Result<Value, Problem> {
        let response = self.send(request).await?;
        response.json().await.map_err(|error| Problem::unreachable(&self.url, &error))
    }
}

/// What a gateway refused, or why it was not reached.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) code: String,
    text: String,
}

impl Problem {
    fn unreachable(url: &str, error: &reqwest::Error) -> Self {
        let why = match causes::reason(error) {
            Reason::Refused => {
                "nothing answers there; is it running? (start one with `lakegate demo`, or name it with --url)"
                    .to_owned()
            }
            Reason::Certificate => format!(
                "{}; make it one that this machine trusts, or name a PEM file with it in SSL_CERT_FILE",
                causes::innermost(error)
            ),
            Reason::NotTls => "what answers there speaks no TLS; begin the URL with http://".to_owned(),
            Reason::Other => causes::all(error),
        };
        Self { code: "unreachable".to_owned(), text: format!("{url}: {why}") }
    }

    fn from_document(status: u16, document: &Value) -> Self {
        let field = |name: &str| document[name].as_str().unwrap_or_default();
        let code = if field("code").is_empty() { format!("http_{status}") } else { field("code").to_owned() };
        let place = match (document["position"]["line"].as_u64(), document["position"]["column"].as_u64()) {
            (Some(line), Some(column)) => format!(" (line {line}, column {column})"),
            _ => String::new(),
        };
        let help = if field("help").is_empty() { String::new() } else { format!("\n  {}", field("help")) };
        Self { text: format!("{code}: {}{place}{help}", field("detail")), code }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::other(problem.text)
    }
}
