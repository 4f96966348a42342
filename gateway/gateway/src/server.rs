//! The socket: a bounded number of connections, of which idle ones make room for new ones, and a drain that lets
//! running requests end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::roster::{Guest, Roster};
use crate::stall::Stall;

/// How connections are served.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connections {
    /// Open at once; an idle one is closed for one more, and when none is idle they wait in the system's queue.
    pub(crate) max: usize,
    /// For a client to send a request's headers.
    pub(crate) header_timeout: Duration,
    /// For a client to take none of an answer's bytes.
    pub(crate) write_timeout: Duration,
    /// For running requests to end once stopping.
    pub(crate) drain_timeout: Duration,
}

/// A socket that is bound.
pub(crate) struct Listener {
    pub(crate) socket: TcpListener,
    pub(crate) address: SocketAddr,
    /// Without one the connections are in plain text.
    pub(crate) tls: Option<TlsAcceptor>,
}

/// Serves until `stop`, then drains. False when the drain ran out of time and requests were cut.
pub(crate) async fn run(listener: Listener, router: Router, how: Connections, stop: CancellationToken) -> bool {
    let Listener { socket, tls, address: _ } = listener;
    let server = Arc::new(Server { router, builder: builder(how), how, roster: Roster::new(how.max), tls, stop });
    let connections = TaskTracker::new();
    while let Some((stream, peer)) = accept(&socket, &server.stop).await {
        let Some(guest) = server.stop.run_until_cancelled(server.roster.admit()).await else {
            break;
        };
        connections.spawn(Arc::clone(&server).serve(stream, peer, guest));
    }
    drop(socket);
    connections.close();
    tokio::time::timeout(how.drain_timeout, connections.wait()).await.is_ok()
}

/// Our own bounds on headers are lower, and say what is wrong.
const MAX_HEADERS: usize = 512;
/// Requests at a time on one HTTP/2 connection.
const MAX_STREAMS: u32 = 128;

fn builder(how: Connections) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(how.header_timeout).max_headers(MAX_HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(how.header_timeout)
        .max_concurrent_streams(MAX_STREAMS);
    builder
}

struct Server {
    router: Router,
    builder: Builder<TokioExecutor>,
    how: Connections,
    roster: Arc<Roster>,
    tls: Option<TlsAcceptor>,
    stop: CancellationToken,
}

impl Server {
    async fn serve(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, guest: Guest) {
        // Until its first byte a connection is a socket and nothing else.
        let first = tokio::time::timeout(self.how.header_timeout, stream.readable());
        let closed = tokio::select! {
            first = first => !matches!(first, Ok(Ok(()))),
            () = guest.closed() => true,
            () = self.stop.cancelled() => true,
        };
        if !closed {
            // Boxed: what a busy connection needs is not what an idle one should weigh.
            match &self.tls {
                None => Box::pin(self.speak(stream, peer, &guest)).await,
                Some(tls) => Box::pin(self.speak_in_private(tls, stream, peer, &guest)).await,
            }
        }
    }

    async fn speak_in_private(&self, tls: &TlsAcceptor, stream: TcpStream, peer: SocketAddr, guest: &Guest) {
        match tokio::time::timeout(self.how.header_timeout, tls.accept(stream)).await {
            Ok(Ok(stream)) => self.speak(stream, peer, guest).await,
            Ok(Err(error)) => tracing::debug!(%error, "no TLS came to be"),
            Err(_) => tracing::debug!("a client took too long to begin TLS"),
        }
    }

    async fn speak<S>(&self, stream: S, peer: SocketAddr, guest: &Guest)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (router, requests) = (self.router.clone(), guest.requests());
        let service = tower::service_fn(move |request: Request<hyper::body::Incoming>| {
            let (router, request_guard) = (router.clone(), requests.begin());
            async move {
                let mut request = request.map(Body::new);
                request.extensions_mut().insert(ConnectInfo(peer));
                let response = router.oneshot(request).await?;
                Ok::<Response<Body>, Infallible>(response.map(|body| Body::new(request_guard.until_sent(body))))
            }
        });
        let stream = TokioIo::new(Stall::new(stream, self.how.write_timeout));
        let connection = self.builder.serve_connection(stream, TowerToHyperService::new(service));
        let mut connection = std::pin::pin!(connection);
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    // A client that breaks off or talks nonsense is its own affair.
                    if let Err(error) = ended {
                        tracing::debug!(%error, "connection ended");
                    }
                    return;
                }
                () = self.stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    let _ = connection.await;
                    return;
                }
                () = guest.closed() => break,
                () = tokio::time::sleep(self.how.header_timeout) => guest.close_if_idle_for(self.how.header_timeout),
            }
        }
        // What is on its way out gets a moment; a request that slipped in gets all it needs.
        connection.as_mut().graceful_shutdown();
        if tokio::time::timeout(LAST_BYTES, connection.as_mut()).await.is_err() && guest.is_busy() {
            let _ = connection.await;
        }
    }
}

/// For an idle connection that is closed to send what it still holds.
const LAST_BYTES: Duration = Duration::from_secs(1);

/// The next connection; `None` once stopping.
async fn accept(listener: &TcpListener, stop: &CancellationToken) -> Option<(TcpStream, SocketAddr)> {
    loop {
        match stop.run_until_cancelled(listener.accept()).await? {
            Ok((stream, peer)) => {
                // Small answers should not wait for more.
                let _ = stream.set_nodelay(true);
                return Some((stream, peer));
            }
            Err(error) => {
                // Out of file descriptors, or a connection that is gone already: others may still come.
                tracing::warn!(%error, "a connection could not be accepted");
                stop.run_until_cancelled(tokio::time::sleep(Duration::from_millis(100))).await?;
            }
        }
    }
}
