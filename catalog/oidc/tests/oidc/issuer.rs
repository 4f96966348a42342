//! An issuer on this machine that does what a test tells it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use futures::StreamExt as _;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::signer::Signer;

/// What it answers when it is asked for its keys or its description.
#[derive(Clone)]
pub(crate) enum Answer {
    /// This, with status 200.
    Text(String),
    /// Nothing but a status.
    Status(u16),
    /// This, with another status.
    Marked(u16, String),
    /// That the keys are elsewhere.
    Redirect(String),
    /// Nothing, ever.
    Silence,
    /// A beginning, and then nothing.
    Beginning,
    /// White space without an end, and without a stated length.
    Endless,
}

struct Told {
    answer: Mutex<Answer>,
    description: Mutex<Answer>,
    /// Requests for the description, for the keys, and for anything else.
    described: AtomicUsize,
    asked: AtomicUsize,
    others: AtomicUsize,
    /// Keys are handed out while it is open.
    gate: watch::Sender<bool>,
}

/// An issuer; it is gone when this is dropped.
pub(crate) struct LocalIssuer {
    /// Its name and its address.
    pub(crate) url: String,
    told: Arc<Told>,
    task: JoinHandle<()>,
}

impl Drop for LocalIssuer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl LocalIssuer {
    pub(crate) async fn start() -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", socket.local_addr().expect("bound"));
        let told = Arc::new(Told {
            answer: Mutex::new(Answer::Text(json!({"keys": []}).to_string())),
            description: Mutex::new(Answer::Text(describe(&url))),
            described: AtomicUsize::new(0),
            asked: AtomicUsize::new(0),
            others: AtomicUsize::new(0),
            gate: watch::Sender::new(true),
        });
        let routes = Router::new().fallback(serve).with_state(told.clone());
        let task = tokio::spawn(async move { axum::serve(socket, routes).await.expect("served") });
        Self { url, told, task }
    }

    /// One with these keys.
    pub(crate) async fn with(keys: &[&Signer]) -> Self {
        let issuer = Self::start().await;
        issuer.recovers(keys);
        issuer
    }

    /// From now on it has these keys.
    pub(crate) fn shows(&self, keys: &[Value]) {
        self.answers(Answer::Text(json!({"keys": keys}).to_string()));
    }

    pub(crate) fn answers(&self, answer: Answer) {
        *self.told.answer.lock() = answer;
    }

    /// From now on it describes itself so.
    pub(crate) fn describes(&self, description: Answer) {
        *self.told.description.lock() = description;
    }

    /// From now on it is well again, with these keys.
    pub(crate) fn recovers(&self, keys: &[&Signer]) {
        self.describes(Answer::Text(describe(&self.url)));
        self.shows(&keys.iter().map(|key| key.jwk()).collect::<Vec<_>>());
    }

    /// Requests for its keys so far.
    pub(crate) fn asked(&self) -> usize {
        self.told.asked.load(Ordering::SeqCst)
    }

    /// Requests for its description so far.
    pub(crate) fn described(&self) -> usize {
        self.told.described.load(Ordering::SeqCst)
    }

    /// All requests so far.
    pub(crate) fn contacted(&self) -> usize {
        self.asked() + self.described() + self.told.others.load(Ordering::SeqCst)
    }

    /// Holds back what it answers until [`LocalIssuer::open`].
    pub(crate) fn close(&self) {
        self.told.gate.send_replace(false);
    }

    pub(crate) fn open(&self) {
        self.told.gate.send_replace(true);
    }
}

fn describe(url: &str) -> String {
    json!({"issuer": url, "jwks_uri": format!("{url}/keys")}).to_string()
}

async fn serve(State(told): State<Arc<Told>>, uri: Uri) -> Response {
    match uri.path() {
        "/.well-known/openid-configuration" => {
            told.described.fetch_add(1, Ordering::SeqCst);
            let answer = told.description.lock().clone();
            give(answer).await
        }
        "/keys" => {
            told.asked.fetch_add(1, Ordering::SeqCst);
            told.gate.subscribe().wait_for(|open| *open).await.expect("a gate");
            let answer = told.answer.lock().clone();
            give(answer).await
        }
        _ => {
            told.others.fetch_add(1, Ordering::SeqCst);
            StatusCode::NOT_FOUND.into_response()
        }
    }
}

async fn give(answer: Answer) -> Response {
    let beginning = || futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"{\"keys\":[]"))]);
    match answer {
        Answer::Text(text) => json_of(text.into()),
        Answer::Status(status) => StatusCode::from_u16(status).expect("a status").into_response(),
        Answer::Marked(status, text) => (StatusCode::from_u16(status).expect("a status"), text).into_response(),
        Answer::Redirect(to) => (StatusCode::FOUND, [(header::LOCATION, to)]).into_response(),
        Answer::Silence => std::future::pending().await,
        Answer::Beginning => json_of(Body::from_stream(beginning().chain(futures::stream::pending()))),
        Answer::Endless => {
            let piece = || Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 64 << 10]));
            json_of(Body::from_stream(futures::stream::repeat_with(piece)))
        }
    }
}

fn json_of(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}
