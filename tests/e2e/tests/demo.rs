//! `lakegate demo`: real data in one command, loaded once.

use lakegate_e2e::{Gateway, Options, Result};
use serde_json::json;

#[tokio::test]
async fn the_demo_has_its_data_and_anyone_may_read_it() -> Result {
    let gateway = Gateway::demo().await?;
    let anyone = gateway.client().anonymous();
    for (dataset, rows) in [("demo.earthquakes", 1_707), ("demo.airports", 3_376), ("demo.flights", 20_000)] {
        assert_eq!(anyone.count(dataset).await?, rows, "{dataset}");
    }
    let strong = "SELECT count(*) AS n FROM demo.earthquakes WHERE mag > 5";
    assert_eq!(anyone.rows(strong).await?, [json!({ "n": 35 })]);
    let lost =
        "SELECT count(*) AS n FROM demo.flights f LEFT JOIN demo.airports a ON f.origin = a.iata WHERE a.iata IS NULL";
    assert_eq!(anyone.rows(lost).await?, [json!({ "n": 0 })]);
    Ok(())
}

#[tokio::test]
async fn the_demo_loads_once_and_keeps_what_was_added() -> Result {
    let gateway = Gateway::demo().await?;
    let row = r#"{"id":"mine","time":"2024-01-01T00:00:00Z","longitude":0.0,"latitude":0.0}"#;
    gateway.client().push("demo.earthquakes", row).await?.expect(200)?;
    let (options, _) = gateway.stop().await?;
    let gateway = options.start().await?;
    assert_eq!(gateway.client().count("demo.earthquakes").await?, 1_708);

    let (options, _) = gateway.stop().await?;
    let gateway = options.argument("--reset").start().await?;
    assert_eq!(gateway.client().count("demo.earthquakes").await?, 1_707);
    Ok(())
}

#[tokio::test]
async fn the_demo_leaves_the_real_data_folder_alone() -> Result {
    let options = Options::demo()?;
    let gateway = options.start().await?;
    let inside: Vec<_> =
        std::fs::read_dir(gateway.options().data_dir())?.filter_map(|e| Some(e.ok()?.file_name())).collect();
    assert_eq!(inside, ["demo"]);
    Ok(())
}
