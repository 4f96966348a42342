//! A catalog whose database is locked, full or restarted: clear errors meanwhile, nothing lost, and no restart needed.

use std::time::{Duration, Instant};

use lakegate_e2e::{Client, Gateway, Options, Postgres, Result};
use serde_json::json;
use sqlx::Connection as _;

/// How long things may take to be well again.
const PATIENCE: Duration = Duration::from_secs(30);

async fn names(client: &Client) -> Result<Vec<String>> {
    let listed = client.get("/v1/datasets?limit=1000").await?.expect(200)?.json()?;
    let items = listed["items"].as_array().ok_or("a list")?;
    Ok(items.iter().filter_map(|item| item["name"].as_str().map(str::to_owned)).collect())
}

#[tokio::test]
async fn a_locked_database_is_waited_for_and_then_said_to_be_busy() -> Result {
    let gateway = Gateway::start().await?;
    let client = gateway.client();
    client.create("lab.t", &[("n", "bigint")]).await?.expect(201)?;
    client.push("lab.t", "{\"n\":1}\n").await?.expect(200)?;
    let database = format!("sqlite:{}", gateway.options().kept().join("catalog.db").display());
    let mut other = sqlx::SqliteConnection::connect(&database).await?;
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await?;
    client.create("lab.u", &[("n", "bigint")]).await?.expect_problem(503, "catalog_unavailable")?;
    let grant = json!({ "public": true, "role": "reader", "dataset": "lab.t" });
    client.send(reqwest::Method::PUT, "/v1/grants", &grant).await?.expect_problem(503, "catalog_unavailable")?;
    // What only reads goes on, and a push writes nothing there.
    assert_eq!(client.count("lab.t").await?, 1);
    client.push("lab.t", "{\"n\":2}\n").await?.expect(200)?;
    client.get("/readyz").await?.expect(200)?;
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await?;
    client.create("lab.u", &[("n", "bigint")]).await?.expect(201)?;
    assert_eq!(names(client).await?, ["lab.t", "lab.u"]);
    Ok(())
}

#[tokio::test]
async fn a_full_disk_below_the_database_refuses_what_it_cannot_keep() -> Result {
    let options = Options::serve()?;
    let log = options.kept().join("catalog.db-wal").display().to_string();
    // From its 600th write on the log finds no room, and after 60 more it does again.
    let full = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", &log, "-e", "trace=pwrite64", "-e"];
    let full: Vec<&str> = full.into_iter().chain(["inject=pwrite64:error=ENOSPC:when=600..660"]).collect();
    let gateway = options.under(&full).start().await?;
    let client = gateway.client();
    let (mut made, mut refused) = (Vec::new(), 0);
    for number in 0..400 {
        let name = format!("lab.t{number:03}");
        let answer = client.create(&name, &[("n", "bigint")]).await?;
        if answer.status == 201 {
            made.push(name);
            if refused > 0 {
                break;
            }
        } else {
            let said =
                answer.expect_problem(503, "storage_full").map_err(|e| format!("{e}\n{}", gateway.output()))?.text();
            assert!(!said.contains(&log), "{said}");
            refused += 1;
        }
    }
    assert!(refused > 0 && made.len() > 1, "{refused} refused, {} made", made.len());
    assert_eq!(names(client).await?, made, "what was acknowledged is there, what was refused is not");
    Ok(())
}

#[tokio::test]
async fn a_postgres_that_crashes_is_found_again() -> Result {
    let postgres = Postgres::start().await?;
    let gateway: Gateway = Options::serve()?.setting("catalog.database_url", postgres.url()).start().await?;
    let client = gateway.client();
    for round in 0..3 {
        let name = format!("lab.t{round}");
        client.create(&name, &[("n", "bigint")]).await?.expect(201)?;
        let (crashed, codes) = tokio::join!(postgres.crash(), async {
            let begun = Instant::now();
            let mut codes = Vec::new();
            // Until it is well again; in between all is refused in one way.
            while begun.elapsed() < PATIENCE {
                let asked = client.create(&format!("lab.u{round}_{}", codes.len()), &[("n", "bigint")]).await;
                let Ok(answer) = asked else { break };
                codes.push((answer.status, answer.code()));
                if answer.status == 201 && codes.len() > 1 {
                    break;
                }
            }
            codes
        });
        crashed?;
        assert_eq!(codes.last().map(|(status, _)| *status), Some(201), "{codes:?}");
        for (status, code) in &codes {
            assert!(*status == 201 || (*status, code.as_deref()) == (503, Some("catalog_unavailable")), "{codes:?}");
        }
        assert!(names(client).await?.contains(&name));
    }
    Ok(())
}
