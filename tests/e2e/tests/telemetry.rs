//! Traces and metrics over OTLP/HTTP, against a tiny receiver.

use std::sync::Arc;
use std::time::Duration;

use lakegate_e2e::{Answer, Gateway, Options, Result};
use parking_lot::Mutex;
use reqwest::Method;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::timeout;

/// What was sent: path and body of each request. Bodies are protobuf; texts are in them as they are.
#[derive(Clone, Default)]
struct Received(Arc<(Mutex<Vec<Sent>>, Notify)>);

/// The path and the body of a request.
type Sent = (String, Vec<u8>);

impl Received {
    /// Waits until a request to `path` holds the bytes; answers all requests to it.
    async fn wait_for(&self, path: &str, part: &[u8]) -> Result<Vec<Vec<u8>>> {
        let found = async {
            loop {
                let more = self.0.1.notified();
                let sent = self.0.0.lock().clone();
                let bodies: Vec<_> = sent.into_iter().filter(|(to, _)| to == path).map(|(_, body)| body).collect();
                if bodies.iter().any(|body| contains(body, part)) {
                    return bodies;
                }
                more.await;
            }
        };
        Ok(timeout(Duration::from_secs(30), found).await?)
    }

    async fn serve(self, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            let received = self.clone();
            tokio::spawn(async move { received.read(stream).await });
        }
    }

    async fn read(&self, stream: TcpStream) -> Result {
        let mut stream = BufReader::new(stream);
        loop {
            let (mut first, mut length) = (String::new(), 0);
            if stream.read_line(&mut first).await? == 0 {
                return Ok(());
            }
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).await?;
                match line.trim().to_lowercase().split_once(':') {
                    Some(("content-length", value)) => length = value.trim().parse()?,
                    Some(_) => {}
                    None => break,
                }
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await?;
            let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
            self.0.0.lock().push((path, body));
            self.0.1.notify_waiters();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await?;
        }
    }
}

fn contains(body: &[u8], part: &[u8]) -> bool {
    body.windows(part.len()).any(|window| window == part)
}

#[tokio::test]
async fn traces_and_metrics_reach_a_collector_without_what_is_private() -> Result {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let endpoint = format!("http://{}", listener.local_addr()?);
    let received = Received::default();
    tokio::spawn(received.clone().serve(listener));
    let options = Options::serve()?.setting("otel.endpoint", &endpoint).setting("otel.interval", "200ms");
    let gateway = options.start().await?;
    let client = gateway.client();
    client.create("hush.secret_table", &[("id", "bigint")]).await?.expect(201)?;
    client.push("hush.secret_table", "{\"id\":1}\n").await?.expect(200)?;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let question = serde_json::json!({ "sql": "SELECT id AS private_word FROM hush.secret_table" });
    let asked = client.request(Method::POST, "/v1/query").json(&question);
    Answer::of(asked.header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"))).await?.expect(200)?;

    let id: Vec<u8> =
        (0..16).map(|at| u8::from_str_radix(&trace[2 * at..2 * at + 2], 16)).collect::<std::result::Result<_, _>>()?;
    let spans = received.wait_for("/v1/traces", &id).await?;
    let all = spans.concat();
    for word in ["request", "plan", "run", "commit", "/v1/query", "http.route", "lakegate"] {
        assert!(contains(&all, word.as_bytes()), "{word} is in no span");
    }
    let counts = received.wait_for("/v1/metrics", b"lakegate.push.rows").await?;
    for private in ["secret_table", "private_word", "127.0.0.1", "lg_", "SELECT"] {
        let found = spans.iter().chain(&counts).any(|body| contains(body, private.as_bytes()));
        assert!(!found, "{private} was sent");
    }
    gateway.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_collector_that_does_not_answer_holds_up_nobody() -> Result {
    // It takes connections and never answers.
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let endpoint = format!("http://{}", listener.local_addr()?);
    let options = Options::serve()?.setting("otel.endpoint", &endpoint).setting("otel.interval", "100ms");
    let mut gateway: Gateway = options.start().await?;
    for _ in 0..50 {
        gateway.client().get("/v1/datasets").await?.expect(200)?;
    }
    gateway.alive()
}
