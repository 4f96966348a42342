//! The proxy that deals the faults.

use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, stream};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::{Dealt, Fault, Kind, Operation};
use crate::Result;

/// How long a stalled answer takes: longer than any deadline of a gateway.
const STALL: Duration = Duration::from_secs(60);

/// How long a slow answer takes: shorter than the deadline of a request.
const SLOW: Duration = Duration::from_millis(700);

/// An HTTP proxy in front of an emulated store. A clone is the same proxy.
#[derive(Clone, Debug)]
pub struct Proxy(Arc<State>);

#[derive(Debug)]
struct State {
    url: String,
    upstream: String,
    http: reqwest::Client,
    armed: Mutex<Vec<Armed>>,
    dealt: Mutex<Dealt>,
    /// Woken whenever a fault is dealt.
    news: Notify,
    /// Whether conditions of requests are left out.
    unconditional: AtomicBool,
}

/// A fault that waits for its moment.
#[derive(Debug)]
struct Armed {
    /// The id of the dataset that it is for.
    table: String,
    fault: Fault,
    left: u32,
}

type Body = BoxBody<Bytes, std::io::Error>;

/// How a request is answered: with a response, or by resetting the connection.
type Outcome = Result<Response<Body>>;

impl Proxy {
    /// Starts one on any free port; it ends with the runtime.
    pub async fn start(upstream: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let http = reqwest::Client::builder().timeout(Duration::from_secs(60)).no_proxy().build()?;
        let proxy = Self(Arc::new(State {
            url,
            upstream: upstream.to_owned(),
            http,
            armed: Mutex::default(),
            dealt: Mutex::default(),
            news: Notify::new(),
            unconditional: AtomicBool::new(false),
        }));
        let accepting = proxy.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(accepting.clone().serve(stream));
            }
        });
        Ok(proxy)
    }

    /// Where it answers.
    pub fn url(&self) -> &str {
        &self.0.url
    }

    /// Deals the fault when the dataset with this id is next spoken of in such an operation.
    pub fn arm(&self, table: &str, fault: Fault) {
        let left = fault.0.times();
        self.0.armed.lock().push(Armed { table: table.to_owned(), fault, left });
    }

    /// From now on it is a store without conditional writes.
    pub fn ignore_conditions(&self) {
        self.0.unconditional.store(true, Ordering::Relaxed);
    }

    /// How often each fault has been dealt, a storm counted once.
    pub fn dealt(&self) -> Dealt {
        self.0.dealt.lock().clone()
    }

    /// Whether no fault for the dataset waits any more.
    pub fn is_spent(&self, table: &str) -> bool {
        !self.0.armed.lock().iter().any(|armed| armed.table == table)
    }

    /// Waits until the next fault is dealt, or for so long.
    pub async fn news(&self, patience: Duration) {
        let _ = tokio::time::timeout(patience, self.0.news.notified()).await;
    }

    async fn serve(self, stream: TcpStream) {
        let service = service_fn(move |request| {
            let answer = self.clone().answer(request);
            async move { answer.await.map_err(|error| std::io::Error::other(error.to_string())) }.boxed()
        });
        let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        let ended = poll_fn(|context| connection.poll_without_shutdown(context)).await;
        if ended.is_err() {
            // Without lingering a close is a reset, whatever was sent before.
            let _ = connection.into_parts().io.into_inner().set_zero_linger();
        }
    }

    fn answer(self, request: Request<Incoming>) -> BoxFuture<'static, Outcome> {
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let mut request = Request::from_parts(parts, body);
            if self.0.unconditional.load(Ordering::Relaxed) {
                request.headers_mut().remove("if-none-match");
            }
            match self.due(&request) {
                Some(kind) => self.fail(kind, &request).await,
                None => self.forward(&request).await.map(whole),
            }
        }
        .boxed()
    }

    /// The fault that this request meets.
    fn due(&self, request: &Request<Bytes>) -> Option<Kind> {
        let operation = operation(request)?;
        let spoken_of =
            |armed: &Armed| request.uri().to_string().contains(&armed.table) || names(request, &armed.table);
        let mut all = self.0.armed.lock();
        let at = all
            .iter()
            .position(|armed| armed.fault.1 == operation && fits(armed.fault.0, request) && spoken_of(armed))?;
        let armed = all.get_mut(at)?;
        let fault = armed.fault;
        armed.left -= 1;
        if armed.left == 0 {
            all.remove(at);
            *self.0.dealt.lock().entry(fault).or_default() += 1;
            self.0.news.notify_waiters();
        }
        Some(fault.0)
    }

    async fn fail(&self, kind: Kind, request: &Request<Bytes>) -> Outcome {
        match kind {
            Kind::Unavailable => refusal(StatusCode::SERVICE_UNAVAILABLE, "SlowDown"),
            Kind::Conflict => refusal(StatusCode::CONFLICT, "ConditionalRequestConflict"),
            Kind::Storm => refusal(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests"),
            Kind::UnavailableAfterwards => {
                self.forward(request).await?;
                refusal(StatusCode::SERVICE_UNAVAILABLE, "InternalError")
            }
            Kind::OwnPrecondition => {
                self.forward(request).await?;
                refusal(StatusCode::PRECONDITION_FAILED, "PreconditionFailed")
            }
            Kind::Reset => {
                self.forward(request).await?;
                Err("reset".into())
            }
            Kind::Truncated => Ok(half(self.forward(request).await?)),
            Kind::Stale => Ok(whole(without_newest(self.forward(request).await?))),
            Kind::Stall => {
                let answer = self.forward(request).await?;
                tokio::time::sleep(STALL).await;
                Ok(whole(answer))
            }
            Kind::SlowFirstByte => {
                let answer = self.forward(request).await?;
                tokio::time::sleep(SLOW).await;
                Ok(whole(answer))
            }
        }
    }

    async fn forward(&self, request: &Request<Bytes>) -> Result<Response<Bytes>> {
        let url = format!("{}{}", self.0.upstream, request.uri());
        let sent = self.0.http.request(request.method().clone(), url).headers(request.headers().clone());
        let answer = sent.body(request.body().clone()).send().await?;
        let mut response = Response::builder().status(answer.status());
        if let Some(headers) = response.headers_mut() {
            headers.extend(answer.headers().clone());
            headers.remove("transfer-encoding");
        }
        Ok(response.body(answer.bytes().await?)?)
    }
}

/// What the gateway is doing; `None` for what no fault is for.
fn operation(request: &Request<Bytes>) -> Option<Operation> {
    let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
    let log = path.contains("/_delta_log/");
    match *request.method() {
        Method::PUT if path.ends_with("/_last_checkpoint") => Some(Operation::LastCheckpoint),
        Method::PUT if log && path.ends_with(".parquet") => Some(Operation::Checkpoint),
        Method::PUT if log => Some(Operation::Commit),
        Method::PUT if path.ends_with(".parquet") => Some(Operation::DataFile),
        Method::POST if query.starts_with("delete") || query.contains("comp=batch") => Some(Operation::Delete),
        Method::GET if query.contains("list-type=2") || query.contains("comp=list") => Some(Operation::List),
        Method::GET | Method::HEAD if log => Some(Operation::ReadLog),
        Method::GET if path.ends_with(".parquet") => Some(Operation::ReadData),
        _ => None,
    }
}

/// An answer to HEAD has no body that could break off.
fn fits(kind: Kind, request: &Request<Bytes>) -> bool {
    kind != Kind::Truncated || request.method() == Method::GET
}

/// Whether the body names the dataset, as that of a removal of many objects does.
fn names(request: &Request<Bytes>, table: &str) -> bool {
    request.method() == Method::POST && String::from_utf8_lossy(request.body()).contains(table)
}

fn refusal(status: StatusCode, code: &str) -> Outcome {
    let body = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code></Error>");
    let response = Response::builder().status(status).header("content-type", "application/xml");
    Ok(whole(response.body(Bytes::from(body))?))
}

fn whole(response: Response<Bytes>) -> Response<Body> {
    response.map(|bytes| Full::new(bytes).map_err(|never: Infallible| match never {}).boxed())
}

/// Promises all of the body, sends half of it, and breaks off.
fn half(response: Response<Bytes>) -> Response<Body> {
    response.map(|bytes| {
        let first = Ok(Frame::data(bytes.slice(..bytes.len() / 2)));
        let broken = async {
            // Time for the first half to leave.
            tokio::time::sleep(Duration::from_millis(50)).await;
            Err(std::io::Error::other("broken off"))
        };
        BodyExt::boxed(StreamBody::new(stream::iter([first]).chain(stream::once(Box::pin(broken)))))
    })
}

/// A list as it was before its last entry was written.
fn without_newest(response: Response<Bytes>) -> Response<Bytes> {
    let mut shorter = response.map(|bytes| {
        let text = String::from_utf8_lossy(&bytes);
        // S3's word for an entry, and Azure's.
        let parts = [("<Contents>", "</Contents>"), ("<Blob>", "</Blob>")].into_iter().find_map(|(open, close)| {
            let (before, rest) = text.rsplit_once(open)?;
            Some((before, rest.split_once(close)?.1))
        });
        parts.map_or_else(|| bytes.clone(), |(before, after)| Bytes::from(format!("{before}{after}")))
    });
    let length = shorter.body().len().into();
    shorter.headers_mut().insert("content-length", length);
    shorter
}
