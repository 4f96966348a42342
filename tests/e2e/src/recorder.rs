//! A catalog that remembers what it was asked: a proxy between a gateway and the companion.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::Barrier;
use tokio::task::JoinHandle;

use crate::Result;

/// A call: its name, and what it takes as JSON.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    /// Such as `access`.
    pub name: String,
    /// The body of its request.
    pub body: String,
}

struct Told {
    companion: String,
    http: reqwest::Client,
    calls: Mutex<Vec<Call>>,
    /// Calls by this name wait for each other.
    gathered: Mutex<Option<(String, Arc<Barrier>)>>,
    alone: AtomicUsize,
}

impl Told {
    async fn gather(&self, name: &str) {
        let gathered =
            self.gathered.lock().as_ref().filter(|(of, _)| of == name).map(|(_, barrier)| Arc::clone(barrier));
        let Some(barrier) = gathered else { return };
        if tokio::time::timeout(ALONE, barrier.wait()).await.is_err() {
            self.alone.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// How long a call waits for others.
const ALONE: Duration = Duration::from_secs(5);

/// A proxy; it is gone when this is dropped.
pub struct Recorder {
    url: String,
    told: Arc<Told>,
    task: JoinHandle<()>,
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Recorder {
    /// In front of the companion at this address.
    pub async fn start(companion: &str) -> Result<Self> {
        let socket = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", socket.local_addr()?);
        let http = reqwest::Client::builder().no_proxy().build()?;
        let told = Arc::new(Told {
            companion: companion.to_owned(),
            http,
            calls: Mutex::default(),
            gathered: Mutex::default(),
            alone: AtomicUsize::new(0),
        });
        let routes = Router::new().fallback(pass).with_state(Arc::clone(&told));
        let task = tokio::spawn(async move { axum::serve(socket, routes).await.unwrap_or_default() });
        Ok(Self { url, told, task })
    }

    /// Where it listens, in the companion's place.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The calls since the last time, in the order in which they came.
    pub fn take(&self) -> Vec<Call> {
        std::mem::take(&mut self.told.calls.lock())
    }

    /// From now on calls by this name are passed on once so many of them are open. [`Recorder::alone`] counts those that
    /// waited in vain.
    pub fn gather(&self, name: &str, calls: usize) {
        *self.told.gathered.lock() = Some((name.to_owned(), Arc::new(Barrier::new(calls))));
    }

    /// Calls that were passed on though not enough others came.
    pub fn alone(&self) -> usize {
        self.told.alone.load(Ordering::Relaxed)
    }
}

async fn pass(State(told): State<Arc<Told>>, uri: Uri, mut headers: HeaderMap, body: Bytes) -> Response {
    let name = uri.path().rsplit('/').next().unwrap_or_default().to_owned();
    told.calls.lock().push(Call { name: name.clone(), body: String::from_utf8_lossy(&body).into_owned() });
    told.gather(&name).await;
    headers.remove(header::HOST);
    headers.remove(header::CONTENT_LENGTH);
    let sent = told.http.post(format!("{}{uri}", told.companion)).headers(headers).body(body).send().await;
    let answered = async {
        let answer = sent?;
        let (status, media_type) = (answer.status(), answer.headers().get(header::CONTENT_TYPE).cloned());
        let mut response = (status, answer.bytes().await?).into_response();
        if let Some(media_type) = media_type {
            response.headers_mut().insert(header::CONTENT_TYPE, media_type);
        }
        Ok::<_, reqwest::Error>(response)
    };
    answered.await.unwrap_or_else(|_| StatusCode::BAD_GATEWAY.into_response())
}
