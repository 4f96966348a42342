//! Requests to a gateway and their answers.

use std::time::Duration;

use bytes::Bytes;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::Result;

/// Longer than any step of a test takes; a hanging one fails instead of stopping the run.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Speaks to one gateway as one caller.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

/// An answer that has arrived whole.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: reqwest::header::HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Client {
    /// A client of the gateway at `base` (`http://host:port`), with or without a token.
    pub fn new(base: impl Into<String>, token: Option<String>) -> Result<Self> {
        Self::patient(base, token, DEADLINE)
    }

    /// The same with another deadline for each request, its answer included.
    pub fn patient(base: impl Into<String>, token: Option<String>, deadline: Duration) -> Result<Self> {
        // Loopback is never behind a proxy, whatever the environment says. Each request has a connection of
        // its own: a push that is refused before its end takes its connection with it.
        let http = reqwest::Client::builder().timeout(deadline).no_proxy().pool_max_idle_per_host(0).build()?;
        Ok(Self { http, base: base.into(), token })
    }

    /// The same gateway, called without a token.
    pub fn anonymous(&self) -> Self {
        Self { token: None, ..self.clone() }
    }

    /// The same gateway, called with another token.
    pub fn with_token(&self, token: impl Into<String>) -> Self {
        Self { token: Some(token.into()), ..self.clone() }
    }

    /// The token, when there is one.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// A request to `path` with this caller's token, to be changed and sent.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Sends without a body.
    pub async fn call(&self, method: Method, path: &str) -> Result<Answer> {
        Answer::of(self.request(method, path)).await
    }

    /// `GET path`.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.call(Method::GET, path).await
    }

    /// `DELETE path`.
    pub async fn delete(&self, path: &str) -> Result<Answer> {
        self.call(Method::DELETE, path).await
    }

    /// Sends a JSON body.
    pub async fn send(&self, method: Method, path: &str, body: &Value) -> Result<Answer> {
        Answer::of(self.request(method, path).json(body)).await
    }

    /// `POST path` with a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        self.send(Method::POST, path, body).await
    }

    /// Creates a dataset; `columns` are pairs of name and type.
    pub async fn create(&self, name: &str, columns: &[(&str, &str)]) -> Result<Answer> {
        let schema: Vec<_> = columns.iter().map(|(name, ty)| json!({ "name": name, "type": ty })).collect();
        self.post("/v1/datasets", &json!({ "name": name, "schema": schema })).await
    }

    /// A push to `ns.name`, to be changed and sent.
    pub fn push_request(&self, dataset: &str, content_type: &str, body: impl Into<Bytes>) -> RequestBuilder {
        let path = format!("{}/ingest", dataset_path(dataset));
        self.request(Method::POST, &path).header("content-type", content_type).body(body.into())
    }

    /// Pushes NDJSON.
    pub async fn push(&self, dataset: &str, rows: impl Into<Bytes>) -> Result<Answer> {
        Answer::of(self.push_request(dataset, "application/x-ndjson", rows)).await
    }

    /// Runs SQL; the answer is JSON.
    pub async fn query(&self, sql: &str) -> Result<Answer> {
        self.post("/v1/query", &json!({ "sql": sql })).await
    }

    /// The rows that SQL answers, which must succeed.
    pub async fn rows(&self, sql: &str) -> Result<Vec<Value>> {
        let mut answer = self.query(sql).await?.expect(200)?.json()?;
        match answer["rows"].take() {
            Value::Array(rows) => Ok(rows),
            _ => Err(format!("no rows in {answer}").into()),
        }
    }

    /// How many rows a dataset has.
    pub async fn count(&self, dataset: &str) -> Result<u64> {
        let rows = self.rows(&format!("SELECT count(*) AS n FROM {dataset}")).await?;
        rows.first().and_then(|row| row["n"].as_u64()).ok_or_else(|| format!("no count in {rows:?}").into())
    }
}

/// The path of a dataset named `ns.name`.
pub fn dataset_path(dataset: &str) -> String {
    format!("/v1/datasets/{}", dataset.replace('.', "/"))
}

impl Answer {
    /// Sends the request and reads the answer to its end.
    pub async fn of(request: RequestBuilder) -> Result<Self> {
        let response = request.send().await?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        Ok(Self { status, headers, body: response.bytes().await? })
    }

    /// This answer when it has the status; else an error that shows what came instead.
    pub fn expect(self, status: u16) -> Result<Self> {
        if self.status == status {
            return Ok(self);
        }
        Err(format!("expected {status}, got {}: {}", self.status, self.start()).into())
    }

    /// This answer when it is a problem document with the code and the status.
    pub fn expect_problem(self, status: u16, code: &str) -> Result<Self> {
        let answer = self.expect(status)?;
        if answer.code().as_deref() == Some(code) {
            return Ok(answer);
        }
        Err(format!("expected the code {code}, got {}", answer.start()).into())
    }

    /// The body as JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).map_err(|error| format!("{error} in {}", self.start()).into())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// How the body begins, for messages.
    pub fn start(&self) -> String {
        self.text().chars().take(1000).collect()
    }

    /// A header's text; empty when it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The code of a problem document; `None` when the answer is something else.
    pub fn code(&self) -> Option<String> {
        let problem = self.header("content-type").starts_with("application/problem+json");
        let code = problem.then(|| self.json().ok()).flatten()?["code"].as_str()?.to_owned();
        Some(code)
    }
}
