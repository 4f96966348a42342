//! The socket: bounded connections, header timeouts, and a drain that lets running requests end.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// How connections are served.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connections {
    /// Open at once; more wait in the system's queue.
    pub(crate) max: usize,
    /// For a client to send a request's headers.
    pub(crate) header_timeout: Duration,
    /// For running requests to end once stopping.
    pub(crate) drain_timeout: Duration,
}

/// Serves until `stop`, then drains. False when the drain ran out of time and requests were cut.
pub(crate) async fn run(listener: TcpListener, router: Router, how: Connections, stop: CancellationToken) -> bool {
    let places = Arc::new(Semaphore::new(how.max));
    let graceful = GracefulShutdown::new();
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(how.header_timeout);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(how.header_timeout);
    while let Some(stream) = accept(&listener, &stop).await {
        let Some(Ok(place)) = stop.run_until_cancelled(Arc::clone(&places).acquire_owned()).await else {
            break;
        };
        let service = TowerToHyperService::new(router.clone());
        let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
        let watched = graceful.watch(connection);
        tokio::spawn(async move {
            // A client that breaks off or talks nonsense is its own affair.
            if let Err(error) = watched.await {
                tracing::debug!(%error, "connection ended");
            }
            drop(place);
        });
    }
    drop(listener);
    tokio::time::timeout(how.drain_timeout, graceful.shutdown()).await.is_ok()
}

/// The next connection; `None` once stopping.
async fn accept(listener: &TcpListener, stop: &CancellationToken) -> Option<TcpStream> {
    loop {
        match stop.run_until_cancelled(listener.accept()).await? {
            Ok((stream, _)) => {
                // Small answers should not wait for more.
                let _ = stream.set_nodelay(true);
                return Some(stream);
            }
            Err(error) => {
                // Out of file descriptors, or a connection that is gone already: others may still come.
                tracing::warn!(%error, "a connection could not be accepted");
                stop.run_until_cancelled(tokio::time::sleep(Duration::from_millis(100))).await?;
            }
        }
    }
}
