//! The catalog: what it costs to know who calls and what it may, a namespace of 100,000 datasets, policies beside the same
//! predicates written by hand.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lakegate_catalog::{
    ApiToken, Bearer, CachedCatalog, Catalog, Column, DatasetName, Datasets as _, Door, Grants as _, Namespace,
    NewDataset, NewPrincipal, Page, PrincipalKind, Principals as _, Visibility,
};
use lakegate_catalog_http::{HttpCatalog, HttpOptions};
use lakegate_catalog_sql::{SqlCatalog, SqlOptions};
use lakegate_e2e::{Client, Companion, Options, Result};
use reqwest::Method;
use serde_json::json;

use crate::record::Recorder;
use crate::sides::over_rest;
use crate::tpch::{Loaded, queries};

/// An instance with an owner, and its token.
async fn owned(catalog: &dyn Catalog) -> Result<ApiToken> {
    let token = ApiToken::generate();
    let owner = NewPrincipal { name: "owner".to_owned(), kind: PrincipalKind::User, external: None };
    catalog.create_first_owner(owner, &token.hash()).await?.ok_or("it has an owner")?;
    Ok(token)
}

/// Creates datasets `bench.t000000` and so on.
async fn filled(catalog: &dyn Catalog, token: &ApiToken, count: usize) -> Result {
    let owner = catalog.authenticate(&token.hash(), chrono::Utc::now()).await?.ok_or("the owner")?.principal.id;
    catalog.ensure_namespace(&Namespace::new("bench")?).await?;
    for number in 0..count {
        let column = Column::new("n", "bigint".parse()?);
        let mut new = NewDataset::root(dataset(number)?, vec![column]);
        new.visibility = Visibility::Private;
        catalog.create_dataset(new, owner).await?;
    }
    Ok(())
}

fn dataset(number: usize) -> Result<DatasetName> {
    Ok(DatasetName::new("bench", &format!("t{number:06}"))?)
}

/// Who a token is and what it may do to a dataset, as each request asks: remembered, and not.
pub(crate) async fn authorise(record: &Recorder) -> Result {
    const ROUNDS: u32 = 10;
    const DATASETS: usize = 100;
    let folder = Options::serve()?;
    let companion = Companion::start().await?;
    let url = format!("sqlite:{}", folder.folder().join("catalog.db").display());
    let embedded: Arc<dyn Catalog> = Arc::new(SqlCatalog::connect(&url, &SqlOptions::default()).await?);
    let shown = std::fs::read_to_string(companion.folder().join("gateway-token"))?;
    let remote: Arc<dyn Catalog> = Arc::new(HttpCatalog::new(HttpOptions {
        url: companion.url().parse()?,
        token: ApiToken::parse(shown.trim()).ok_or("a gateway's token")?,
        trusted: None,
        timeout: Duration::from_secs(10),
    })?);
    let mut sides = Vec::new();
    for (name, catalog) in [("in the gateway", embedded), ("companion", remote)] {
        let token = owned(catalog.as_ref()).await?;
        filled(catalog.as_ref(), &token, DATASETS).await?;
        let cached = Arc::new(CachedCatalog::new(catalog, Duration::from_secs(600), Duration::ZERO));
        let door = Door::new(Arc::clone(&cached) as Arc<dyn Catalog>);
        sides.push((name, cached, door, token));
    }
    for round in 0..=ROUNDS {
        for (what, times, forgets) in
            [("remembered", 20_000, false), ("asked at once", 500, true), ("asked apart", 500, true)]
        {
            for (name, cached, door, token) in &sides {
                let begun = Instant::now();
                for number in 0..times {
                    if forgets {
                        cached.forget();
                    }
                    let name = dataset(number % DATASETS)?;
                    let named = Some(&name).filter(|_| what != "asked apart");
                    let identity = door.admit(Bearer::Token(token), None, named).await?;
                    let access = cached.access(&identity.into(), &name).await?;
                    access.ok_or("an owner sees it")?;
                }
                let us = begun.elapsed().as_secs_f64() * 1e6 / times as f64;
                if round > 0 {
                    record.measured("authorise", what, name, round, json!({ "us": us }))?;
                }
            }
        }
    }
    Ok(())
}

/// A namespace of 100,000 datasets beside one of 100: pages of its list, finding one, and a start.
pub(crate) async fn namespace(record: &Recorder) -> Result {
    const ROUNDS: u32 = 7;
    const LOOKUPS: usize = 1_000;
    let mut sides = Vec::new();
    for count in [100_000, 100] {
        // In memory where that can be had: it is filled a transaction at a time.
        let options = Options::serve()?;
        let fast = Path::new("/dev/shm");
        let file = if fast.is_dir() {
            fast.join(format!("lakegate-{}-{count}.db", std::process::id()))
        } else {
            options.folder().join("catalog.db")
        };
        let url = format!("sqlite:{}", file.display());
        let catalog = SqlCatalog::connect(&url, &SqlOptions::default()).await?;
        let token = owned(&catalog).await?;
        filled(&catalog, &token, count).await?;
        let caller = catalog.authenticate(&token.hash(), chrono::Utc::now()).await?.ok_or("the owner")?.into();
        let options = options.setting("catalog.database_url", &url).owned(token.reveal());
        sides.push((format!("{count} datasets"), count, catalog, caller, options, file));
    }
    let namespace = Namespace::new("bench")?;
    for round in 0..=ROUNDS {
        for (name, count, catalog, caller, options, _) in &mut sides {
            let mut numbers = Vec::new();
            for (what, after) in [
                ("first page of 50", None),
                ("a page in the middle", Some(*count / 2)),
                ("last page", Some(*count - 50)),
            ] {
                let cursor = after.map(|number| dataset(number - 1)).transpose()?.map(|name| name.to_string());
                let begun = Instant::now();
                let page = catalog.list_datasets(caller, Some(&namespace), &Page { limit: 50, cursor }).await?;
                numbers.push((what, begun.elapsed().as_secs_f64() * 1e3));
                if page.items.len() != 50 {
                    return Err(format!("{what} has {} items", page.items.len()).into());
                }
            }
            let begun = Instant::now();
            for number in 0..LOOKUPS {
                // All over the namespace, in no order.
                let wanted = dataset(number * 7_919 % *count)?;
                catalog.access(caller, &wanted).await?.ok_or("it is there")?;
            }
            numbers.push(("1,000 datasets found by name", begun.elapsed().as_secs_f64() * 1e3));
            let begun = Instant::now();
            let gateway = options.clone().start().await?;
            numbers.push(("a start", begun.elapsed().as_secs_f64() * 1e3));
            gateway.stop().await?;
            if round > 0 {
                for (what, ms) in numbers {
                    record.measured("namespace", what, name, round, json!({ "ms": ms }))?;
                }
            }
        }
    }
    for (.., file) in sides {
        for end in ["", "-wal", "-shm"] {
            // What is not there needs no removing.
            let _ = std::fs::remove_file(format!("{}{end}", file.display()));
        }
    }
    Ok(())
}

/// Tables of TPC-H and the predicates of their policies; each leaves most rows.
const PREDICATES: [(&str, &str); 3] = [
    ("lineitem", "l_shipmode <> 'AIR'"),
    ("orders", "o_orderpriority <> '5-LOW'"),
    ("customer", "c_mktsegment <> 'MACHINERY'"),
];

/// TPC-H asked by one who is under policies, and by an owner who writes the same predicates by hand.
pub(crate) async fn policies(record: &Recorder) -> Result {
    const ROUNDS: u32 = 6;
    let loaded = Loaded::new().await?;
    let owner = loaded.gateway.client();
    owner.post("/v1/principals", &json!({ "name": "reader" })).await?.expect(201)?;
    let made =
        owner.post("/v1/tokens", &json!({ "name": "bench", "principal": "reader" })).await?.expect(201)?.json()?;
    let grant = json!({ "principal": "reader", "role": "reader", "namespace": "tpch" });
    owner.send(Method::PUT, "/v1/grants", &grant).await?.expect(200)?;
    for (table, predicate) in PREDICATES {
        let path = format!("/v1/datasets/tpch/{table}/policy");
        owner.send(Method::PUT, &path, &json!({ "row_filter": predicate })).await?.expect(200)?;
    }
    let patient = |token: &str| Client::patient(loaded.gateway.base(), Some(token.to_owned()), super::pushes::PATIENCE);
    let (reader, owner) = (patient(made["token"].as_str().ok_or("a token")?)?, patient(loaded.gateway.token())?);
    for (name, sql) in queries()? {
        let by_hand = by_hand(&sql);
        for round in 0..=ROUNDS {
            // Each goes first in every other round.
            let (policy, hand);
            if round % 2 == 0 {
                policy = over_rest(&reader, &sql).await?;
                hand = over_rest(&owner, &by_hand).await?;
            } else {
                hand = over_rest(&owner, &by_hand).await?;
                policy = over_rest(&reader, &sql).await?;
            }
            if policy.rows != hand.rows {
                return Err(format!("{name}: {} rows by the policy, {} by hand", policy.rows, hand.rows).into());
            }
            // The first round fills caches.
            if round > 0 {
                for (side, took) in [("policy", policy), ("by hand", hand)] {
                    let numbers = json!({ "ms": took.time.as_secs_f64() * 1e3, "rows": took.rows });
                    record.measured("policies", &name, side, round, numbers)?;
                }
            }
        }
    }
    Ok(())
}

/// The statement with each table that has a policy replaced by its rows.
fn by_hand(sql: &str) -> String {
    PREDICATES.iter().fold(sql.to_owned(), |sql, (table, predicate)| {
        sql.replace(&format!("tpch.{table}"), &format!("(SELECT * FROM tpch.{table} WHERE {predicate})"))
    })
}
