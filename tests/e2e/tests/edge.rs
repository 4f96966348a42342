//! What is refused before anything is done, pages of other origins, and connections that only wait.

use std::time::{Duration, Instant};

use lakegate_e2e::process::{MIB, peak_memory};
use lakegate_e2e::{Answer, Gateway, OpenPush, Options, Result};
use reqwest::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

#[tokio::test]
async fn a_page_whose_name_was_made_to_point_here_is_refused() -> Result {
    let gateway = Options::serve()?.setting("rest.public_url", "https://data.example.org").start().await?;
    let ask = |host: &'static str| {
        let request = gateway.client().request(Method::GET, "/v1/datasets").header("host", host);
        async move { Answer::of(request).await }
    };
    for good in ["localhost", "localhost:7780", "127.0.0.1", "127.1.2.3:80", "[::1]:80", "data.example.org"] {
        ask(good).await?.expect(200)?;
    }
    for bad in ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "192.168.1.1", "lakegate"] {
        ask(bad).await?.expect_problem(403, "host_not_allowed")?;
    }
    let document = gateway.client().get("/openapi.json").await?.json()?;
    assert_eq!(document["servers"][0]["url"], "https://data.example.org");
    Ok(())
}

#[tokio::test]
async fn only_listed_origins_may_call_from_pages() -> Result {
    let gateway = Options::serve()?.setting("rest.cors_origins", "https://app.example.org").start().await?;
    let from = |method: Method, origin: &str| {
        let request = gateway.client().request(method, "/v1/whoami").header("origin", origin);
        Answer::of(request.header("access-control-request-method", "GET"))
    };
    for method in [Method::OPTIONS, Method::GET] {
        let answer = from(method.clone(), "https://app.example.org").await?.expect(200)?;
        assert_eq!(answer.header("access-control-allow-origin"), "https://app.example.org", "{method}");
        let answer = from(method.clone(), "https://evil.example").await?;
        assert_eq!(answer.header("access-control-allow-origin"), "", "{method}");
    }
    let answer = from(Method::OPTIONS, "https://app.example.org").await?;
    assert!(answer.header("access-control-allow-headers").contains("authorization"));
    let answer = from(Method::GET, "https://app.example.org").await?;
    assert!(answer.header("access-control-expose-headers").contains("lakegate-versions"));
    // A problem can be read as well as an answer.
    let refused = gateway.client().with_token("nonsense").request(Method::GET, "/v1/whoami");
    let refused = Answer::of(refused.header("origin", "https://app.example.org")).await?.expect(401)?;
    assert_eq!(refused.header("access-control-allow-origin"), "https://app.example.org");

    let plain = Gateway::start().await?;
    let answer =
        Answer::of(plain.client().request(Method::GET, "/v1/whoami").header("origin", "https://a.example")).await?;
    assert_eq!(answer.expect(200)?.header("access-control-allow-origin"), "", "none by default");
    Ok(())
}

#[tokio::test]
async fn what_is_too_long_is_said_so() -> Result {
    let gateway = Gateway::start().await?;
    let client = gateway.client();
    let long = "a".repeat(40_000);
    client.get(&format!("/v1/datasets?cursor={long}")).await?.expect_problem(414, "uri_too_long")?;
    let large = client.request(Method::GET, "/v1/datasets").header("x-large", &long);
    Answer::of(large).await?.expect_problem(431, "headers_too_large")?;
    let many = (0..150).fold(client.request(Method::GET, "/healthz"), |r, n| r.header(format!("x-{n}"), "1"));
    Answer::of(many).await?.expect_problem(431, "headers_too_large")?;
    Ok(())
}

/// The address to connect to.
fn address(gateway: &Gateway) -> String {
    gateway.base().trim_start_matches("http://").to_owned()
}

#[tokio::test]
async fn ten_thousand_idle_connections_hold_up_nobody() -> Result {
    const IDLE: usize = 10_000;
    lakegate_e2e::process::allow_open_files(IDLE as u64 + 1_000)?;
    let mut gateway = Gateway::start().await?;
    let before = peak_memory(gateway.pid()?)?;
    let mut idle = Vec::with_capacity(IDLE);
    for _ in 0..IDLE {
        idle.push(TcpStream::connect(address(&gateway)).await?);
    }
    // Some have sent a part of their headers.
    for stream in idle.iter_mut().step_by(100) {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: local").await?;
    }
    gateway.client().get("/readyz").await?.expect(200)?;
    gateway.client().create("lab.readings", &[("id", "bigint")]).await?.expect(201)?;
    let grown = peak_memory(gateway.pid()?)?.saturating_sub(before);
    assert!(grown < 160 * MIB, "{} MiB for {IDLE} idle connections", grown / MIB);
    // They still work; the last one has been idle for the shortest time, as nobody may be for ever.
    let stream = idle.last_mut().ok_or("no connection")?;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    timeout(Duration::from_secs(20), stream.read_to_string(&mut answer)).await??;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    gateway.alive()
}

#[tokio::test]
async fn the_oldest_idle_connections_make_room_and_busy_ones_stay() -> Result {
    let gateway = Options::serve()?.setting("rest.max_connections", "50").start().await?;
    let client = gateway.client();
    client.create("lab.readings", &[("id", "bigint"), ("name", "string")]).await?.expect(201)?;
    let push = OpenPush::begin(client, "lab.readings", None).await?;
    let begun = Instant::now();
    let mut idle = Vec::new();
    for _ in 0..200 {
        idle.push(TcpStream::connect(address(&gateway)).await?);
    }
    client.get("/readyz").await?.expect(200)?;
    assert!(begun.elapsed() < Duration::from_secs(25), "nobody had to time out");
    let mut oldest = idle.swap_remove(0);
    let closed = timeout(Duration::from_secs(20), oldest.read(&mut [0; 16])).await?;
    assert!(!matches!(closed, Ok(1..)), "the oldest was closed");
    push.finish().await?.expect(200)?;
    assert_eq!(client.count("lab.readings").await?, OpenPush::BEGUN);
    Ok(())
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_let_go() -> Result {
    let gateway = Options::serve()?.setting("rest.write_timeout", "500ms").start().await?;
    let mut stream = TcpStream::connect(address(&gateway)).await?;
    let body = "{\"sql\":\"SELECT repeat('x', 1000) AS x FROM range(1000000)\",\"format\":\"csv\"}";
    let request = format!(
        "POST /v1/query HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await?;
    // Nothing is read; the query ends all the same, long before its own deadline.
    let client = gateway.client();
    let running = async {
        loop {
            let metrics = client.get("/metrics").await?.text();
            if metrics.lines().any(|line| line.starts_with("lakegate_queries_total{outcome=\"Cancelled\"} 1")) {
                return Ok(());
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(40), running).await?
}

/// What comes back for bytes that a client library would not send.
async fn told(gateway: &Gateway, request: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address(gateway)).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    timeout(Duration::from_secs(20), stream.read_to_string(&mut answer)).await??;
    Ok(answer)
}

#[tokio::test]
async fn a_request_names_one_host() -> Result {
    let gateway = Gateway::start().await?;
    for headers in ["", "Host: localhost\r\nHost: evil.example\r\n"] {
        let answer = told(&gateway, &format!("GET /healthz HTTP/1.1\r\n{headers}Connection: close\r\n\r\n")).await?;
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("Host header"), "{answer}");
    }
    let answer = told(&gateway, "GET /healthz HTTP/1.0\r\n\r\n").await?;
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    Ok(())
}

#[tokio::test]
async fn the_start_page_says_where_it_is() -> Result {
    let gateway = Gateway::start().await?;
    let page = gateway.client().get("/").await?.expect(200)?.text();
    assert!(page.contains(&format!("curl -s http://{}/v1/query", address(&gateway))), "{page}");
    Ok(())
}
