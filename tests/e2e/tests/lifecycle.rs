//! Start, stop and what stands in the way of either.

use std::time::Duration;

use lakegate_e2e::client::dataset_path;
use lakegate_e2e::gateway::Options;
use lakegate_e2e::{Answer, Gateway, Result, process};
use reqwest::Method;

/// What a command that must fail answers: its exit code and what it wrote to stderr.
async fn failure(options: &Options) -> Result<(Option<i32>, String)> {
    let output = tokio::time::timeout(Duration::from_secs(30), options.command()?.output()).await??;
    Ok((output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned()))
}

#[tokio::test]
async fn sigterm_lets_a_push_finish_and_loses_nothing() -> Result {
    let gateway = Gateway::start().await?;
    let client = gateway.client().clone();
    client.create("shop.orders", &[("id", "bigint"), ("name", "string")]).await?.expect(201)?;
    let (mut sender, chunks) = futures::channel::mpsc::channel::<std::result::Result<bytes::Bytes, std::io::Error>>(0);
    let path = format!("{}/ingest", dataset_path("shop.orders"));
    let request = client.request(Method::POST, &path).header("content-type", "application/x-ndjson");
    let push = tokio::spawn(Answer::of(request.body(reqwest::Body::wrap_stream(chunks))));
    let row = |id: u32| Ok(format!("{{\"id\":{id},\"name\":\"{}\"}}\n", "x".repeat(64 * 1024)).into());
    for id in 0..64 {
        futures::SinkExt::send(&mut sender, row(id)).await?;
    }
    process::signal(gateway.pid()?, "TERM")?;
    let ending = tokio::spawn(async move {
        let mut gateway = gateway;
        gateway.ended().await.map(|status| (status, gateway.options().clone()))
    });
    futures::SinkExt::send(&mut sender, row(64)).await?;
    drop(sender);
    push.await??.expect(200)?;
    let (status, options) = ending.await??;
    assert!(status.success(), "{status}");
    let gateway = options.start().await?;
    assert_eq!(gateway.client().count("shop.orders").await?, 65);
    Ok(())
}

#[tokio::test]
async fn rows_tokens_and_grants_are_there_after_a_restart() -> Result {
    let gateway = Gateway::start().await?;
    gateway.client().create("shop.orders", &[("id", "bigint")]).await?.expect(201)?;
    gateway.client().push("shop.orders", "{\"id\":1}\n").await?.expect(200)?;
    let token = gateway.token().to_owned();
    let (options, status) = gateway.stop().await?;
    assert!(status.success(), "{status}");
    let gateway = options.start().await?;
    assert_eq!(gateway.token(), token);
    assert_eq!(gateway.client().count("shop.orders").await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_second_process_on_one_folder_names_the_first() -> Result {
    let gateway = Gateway::start().await?;
    let (code, text) = failure(gateway.options()).await?;
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains(&gateway.pid()?.to_string()), "it names the holder: {text}");
    gateway.client().get("/healthz").await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn a_lock_of_a_dead_process_is_taken_over() -> Result {
    let options = Gateway::start().await?.kill().await?;
    options.start().await?.client().get("/readyz").await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn a_folder_of_a_newer_version_is_refused() -> Result {
    let (options, _) = Gateway::start().await?.stop().await?;
    std::fs::write(options.kept().join("VERSION"), "999999\n")?;
    let (code, text) = failure(&options).await?;
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("999999") && text.contains("newer"), "{text}");
    Ok(())
}

#[tokio::test]
async fn a_port_that_is_taken_is_said_with_the_flag_that_changes_it() -> Result {
    let holder = std::net::TcpListener::bind("127.0.0.1:0")?;
    let options = Options::serve()?.setting("rest.listen", &holder.local_addr()?.to_string());
    let (code, text) = failure(&options).await?;
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("--listen"), "it names what to change: {text}");
    Ok(())
}

#[tokio::test]
async fn a_setting_that_does_not_exist_is_refused_with_the_nearest() -> Result {
    let (code, text) = failure(&Options::serve()?.setting("query.timout", "5s")).await?;
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("LAKEGATE__QUERY__TIMEOUT"), "{text}");
    Ok(())
}

#[tokio::test]
async fn readiness_ends_when_storage_is_gone() -> Result {
    let gateway = Gateway::start().await?;
    gateway.client().get("/readyz").await?.expect(200)?;
    let lake = gateway.options().kept().join("lake");
    std::fs::rename(&lake, lake.with_extension("away"))?;
    gateway.client().get("/readyz").await?.expect(503)?;
    gateway.client().get("/healthz").await?.expect(200)?;
    std::fs::rename(lake.with_extension("away"), &lake)?;
    gateway.client().get("/readyz").await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn the_owner_token_is_for_its_owner_only() -> Result {
    use std::os::unix::fs::PermissionsExt;
    let gateway = Gateway::start().await?;
    let mode = std::fs::metadata(gateway.options().kept().join("owner-token"))?.permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!gateway.output().contains(gateway.token()), "it is printed on a terminal only");
    Ok(())
}
