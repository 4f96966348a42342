//! The runtime on which all requests to a remote store run.
//!
//! A pooled connection is driven by the runtime that opened it, whoever uses it next. On the runtimes of their callers a
//! query that computes could hold up the connection that a push has been given.

use object_store::client::SpawnedReqwestConnector;
use tokio::runtime::{Builder, Handle, Runtime};

/// Threads that move bytes, and compute nothing but TLS.
const THREADS: usize = 2;

/// A runtime that ends, without waiting, when it is dropped.
#[derive(Debug)]
pub(super) struct IoRuntime(Option<Runtime>, Handle);

impl IoRuntime {
    pub(super) fn start() -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(THREADS).thread_name("store").enable_all().build()?;
        let handle = runtime.handle().clone();
        Ok(Self(Some(runtime), handle))
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.1
    }

    /// Makes clients whose requests run here. What they answer may be read anywhere.
    pub(super) fn connector(&self) -> SpawnedReqwestConnector {
        SpawnedReqwestConnector::new(self.1.clone())
    }
}

impl Drop for IoRuntime {
    fn drop(&mut self) {
        // Waiting is not possible where a lake may be dropped: inside another runtime.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use object_store::ObjectStoreExt as _;
    use object_store::path::Path;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use url::Url;

    use crate::store::options::{S3Options, StoreEnvironment, StoreOptions};
    use crate::store::remote;

    /// A store that answers every HEAD, and keeps its connections.
    async fn serve(listener: TcpListener) {
        const ANSWER: &[u8] =
            b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\nlast-modified: Thu, 01 Jan 2026 00:00:00 GMT\r\netag: \"a\"\r\n\r\n";
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut head, mut byte) = (Vec::new(), [0]);
                while stream.read_exact(&mut byte).await.is_ok() {
                    head.push(byte[0]);
                    if head.ends_with(b"\r\n\r\n") {
                        head.clear();
                        if stream.write_all(ANSWER).await.is_err() {
                            return;
                        }
                    }
                }
            });
        }
    }

    /// A runtime that is busy with something else is one that does not poll.
    #[test]
    fn a_connection_does_not_depend_on_the_runtime_that_opened_it() {
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        let elsewhere = super::IoRuntime::start().expect("runtime");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("port");
        listener.set_nonblocking(true).expect("nonblocking");
        let endpoint = format!("http://{}", listener.local_addr().expect("address"));
        elsewhere.handle().spawn(async move { serve(TcpListener::from_std(listener).expect("listener")).await });
        let key = |name: &str| (name.to_owned(), "x".to_owned());
        let options = StoreOptions {
            allow_http: true,
            request_timeout: Duration::from_secs(5),
            retry_timeout: Duration::from_secs(5),
            s3: S3Options { endpoint: Some(endpoint), region: Some("x".to_owned()), path_style: true },
            environment: StoreEnvironment::new([key("AWS_ACCESS_KEY_ID"), key("AWS_SECRET_ACCESS_KEY")]),
            ..StoreOptions::default()
        };
        let store = remote::open(&Url::parse("s3://bucket/").expect("url"), &options).expect("opens");
        let (busy, other) = (runtime(), runtime());
        let path = Path::from("a");
        assert_eq!(busy.block_on(store.head(&path)).expect("answers").size, 3);
        // Over the connection that the first request has left in the pool; the first runtime does nothing any more.
        for _ in 0..20 {
            assert_eq!(other.block_on(store.head(&path)).expect("answers").size, 3);
        }
        drop(busy);
    }
}
