//! Start, stop and what stands in the way of either.

use std::path::Path;
use std::time::Duration;

use lakegate_e2e::{Gateway, OpenPush, Options, Result, process};

/// What a command that must fail answers: its exit code and what it wrote to stderr.
async fn failure(options: &Options) -> Result<(Option<i32>, String)> {
    let output = tokio::time::timeout(Duration::from_secs(30), options.command()?.output()).await??;
    Ok((output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned()))
}

/// A gateway with a push that is not at its end.
async fn gateway_under_a_push(options: Options) -> Result<(Gateway, OpenPush)> {
    let gateway = options.start().await?;
    gateway.client().create("shop.orders", &[("id", "bigint"), ("name", "string")]).await?.expect(201)?;
    let push = OpenPush::begin(gateway.client(), "shop.orders", None).await?;
    Ok((gateway, push))
}

#[tokio::test]
async fn sigterm_lets_a_push_finish_and_loses_nothing() -> Result {
    let (mut gateway, mut push) = gateway_under_a_push(Options::serve()?).await?;
    process::signal(gateway.pid()?, "TERM")?;
    push.row(OpenPush::BEGUN).await?;
    push.finish().await?.expect(200)?;
    let status = gateway.ended().await?;
    assert!(status.success(), "{status}");
    let gateway = gateway.options().clone().start().await?;
    assert_eq!(gateway.client().count("shop.orders").await?, OpenPush::BEGUN + 1);
    Ok(())
}

#[tokio::test]
async fn a_second_ctrl_c_ends_at_once() -> Result {
    let (mut gateway, _push) = gateway_under_a_push(Options::serve()?).await?;
    process::signal(gateway.pid()?, "INT")?;
    // The first one is heard when no new connection is taken any more.
    let patience = std::time::Instant::now();
    while gateway.client().get("/healthz").await.is_ok() {
        assert!(patience.elapsed() < Duration::from_secs(20), "the first Ctrl-C was not heard");
    }
    gateway.alive()?;
    let second = std::time::Instant::now();
    process::signal(gateway.pid()?, "INT")?;
    let status = gateway.ended().await?;
    assert_eq!(status.code(), Some(130));
    assert!(second.elapsed() < Duration::from_secs(2), "{:?}", second.elapsed());
    Ok(())
}

#[tokio::test]
async fn a_drain_has_an_end() -> Result {
    let options = Options::serve()?.setting("rest.drain_timeout", "1s");
    let (mut gateway, _push) = gateway_under_a_push(options).await?;
    process::signal(gateway.pid()?, "TERM")?;
    let status = gateway.ended().await?;
    assert_eq!(status.code(), Some(1), "{}", gateway.output());
    let gateway = gateway.options().clone().start().await?;
    assert_eq!(gateway.client().count("shop.orders").await?, 0, "what was cut is not there");
    Ok(())
}

#[tokio::test]
async fn a_start_says_where_to_go_next() -> Result {
    let gateway = Gateway::start().await?;
    let (options, _) = gateway.stop().await?;
    let mut gateway = options.start().await?;
    let base = gateway.base().to_owned();
    process::signal(gateway.pid()?, "TERM")?;
    gateway.ended().await?;
    let output = gateway.output();
    for word in [format!("{base}/openapi.json"), format!("lakegate sql --url {base}"), "Ctrl-C".to_owned()] {
        assert!(output.contains(&word), "{word} is not in:\n{output}");
    }
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
async fn a_stopped_instance_is_whole_in_its_files() -> Result {
    let gateway = Gateway::start().await?;
    gateway.client().create("shop.orders", &[("id", "bigint")]).await?.expect(201)?;
    let (options, _) = gateway.stop().await?;
    // Whoever copies the folder may forget what stands beside the catalog.
    for ending in ["-wal", "-shm"] {
        let beside = options.kept().join(format!("catalog.db{ending}"));
        assert!(!beside.exists(), "{} is left", beside.display());
    }
    options.start().await?.client().get("/v1/datasets/shop/orders").await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn a_start_without_its_lake_is_refused_and_makes_no_empty_one() -> Result {
    let gateway = Gateway::start().await?;
    gateway.client().create("shop.orders", &[("id", "bigint")]).await?.expect(201)?;
    gateway.client().push("shop.orders", "{\"id\":1}\n").await?.expect(200)?;
    let (options, _) = gateway.stop().await?;
    let (lake, aside) = (options.kept().join("lake"), options.folder().join("aside"));
    std::fs::rename(&lake, &aside)?;
    for _ in 0..2 {
        let (code, text) = failure(&options).await?;
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains("storage.root") && text.contains("does not hold the tables"), "{text}");
        assert!(!lake.exists(), "nothing was made in its place");
    }
    // Another instance's lake in the same place is no better.
    let (other, _) = Gateway::start().await?.stop().await?;
    std::fs::rename(other.kept().join("lake"), &lake)?;
    let (code, text) = failure(&options).await?;
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("belongs to another catalog"), "{text}");
    // Brought back, all is well; wherever it is, as long as the setting says so.
    let options = options.setting("storage.root", &format!("file://{}", aside.join("root").display()));
    assert_eq!(options.start().await?.client().count("shop.orders").await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_start_without_its_catalog_is_refused_and_makes_no_empty_one() -> Result {
    let gateway = Gateway::start().await?;
    gateway.client().create("shop.orders", &[("id", "bigint")]).await?.expect(201)?;
    let (options, _) = gateway.stop().await?;
    let aside = options.folder().join("aside");
    std::fs::create_dir(&aside)?;
    let files = ["catalog.db", "catalog.db-wal", "catalog.db-shm"];
    // Some of them may not be there.
    let moved = |from: &Path, to: &Path| files.map(|file| std::fs::rename(from.join(file), to.join(file)).is_ok())[0];
    let token = std::fs::read_to_string(options.kept().join("owner-token"))?;
    assert!(moved(&options.kept(), &aside));
    for _ in 0..2 {
        let (code, text) = failure(&options).await?;
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains("belongs to another catalog") && text.contains("catalog.db"), "{text}");
        assert_eq!(std::fs::read_to_string(options.kept().join("owner-token"))?, token, "the token is the old one");
    }
    // Nor does another instance begin in this lake.
    let root = format!("file://{}", options.kept().join("lake/root").display());
    let (code, text) = failure(&Options::serve()?.setting("storage.root", &root)).await?;
    assert_eq!(code, Some(2), "{text}");
    for file in files {
        // Of the empty catalog that was refused.
        let _ = std::fs::remove_file(options.kept().join(file));
    }
    assert!(moved(&aside, &options.kept()));
    let gateway = options.start().await?;
    assert_eq!(gateway.token(), token.trim());
    gateway.client().get("/v1/datasets/shop/orders").await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn an_owner_token_that_a_crash_left_begun_is_taken_up() -> Result {
    let (options, _) = Gateway::start().await?.stop().await?;
    let (kept, begun) = (options.kept().join("owner-token"), options.kept().join("owner-token.new"));
    let token = std::fs::read_to_string(&kept)?;
    // The crash came after the catalog had the owner and before the token had its last name.
    std::fs::rename(&kept, &begun)?;
    let gateway = options.start().await?;
    assert_eq!(gateway.token(), token.trim());
    gateway.client().get("/v1/whoami").await?.expect(200)?;
    // It came before the catalog knew anything.
    let (options, _) = gateway.stop().await?;
    let fresh = Options::serve()?;
    std::fs::create_dir_all(fresh.kept())?;
    std::fs::rename(options.kept().join("owner-token"), fresh.kept().join("owner-token.new"))?;
    let gateway = fresh.start().await?;
    assert_eq!(gateway.token(), token.trim());
    gateway.client().get("/v1/whoami").await?.expect(200)?;
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
