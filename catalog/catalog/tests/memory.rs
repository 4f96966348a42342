//! The catalog in memory keeps the contract, and so it does behind a cache.

use std::sync::Arc;

use lakegate_catalog::{CachedCatalog, Catalog, MemoryCatalog, contract};

async fn make() -> Arc<dyn Catalog> {
    Arc::new(MemoryCatalog::new())
}

#[tokio::test]
async fn keeps_the_contract_of_datasets() {
    contract::datasets(make).await;
}

#[tokio::test]
async fn keeps_the_contract_of_principals() {
    contract::principals(make).await;
}

#[tokio::test]
async fn keeps_the_contract_of_groups() {
    contract::groups(make).await;
}

#[tokio::test]
async fn keeps_the_contract_of_grants() {
    contract::grants(make).await;
}

#[tokio::test]
async fn keeps_the_contract_of_events() {
    contract::events(make).await;
}

#[tokio::test]
async fn keeps_the_contract_of_jobs() {
    contract::jobs(make).await;
}

#[tokio::test]
async fn keeps_the_contract_of_the_audit() {
    contract::audit(make).await;
}

#[tokio::test]
async fn keeps_the_contract_of_the_first_owner() {
    contract::owner(make).await;
}

#[tokio::test]
async fn keeps_the_contract_in_races() {
    contract::races(make).await;
}

/// Remembers for longer than a test runs: what is stale would show.
async fn cached() -> Arc<dyn Catalog> {
    Arc::new(CachedCatalog::new(make().await, std::time::Duration::from_secs(3600), std::time::Duration::ZERO))
}

#[tokio::test]
async fn keeps_the_contract_behind_a_cache() {
    contract::datasets(cached).await;
    contract::principals(cached).await;
    contract::groups(cached).await;
    contract::grants(cached).await;
    contract::events(cached).await;
    contract::jobs(cached).await;
    contract::audit(cached).await;
    contract::owner(cached).await;
    contract::races(cached).await;
}
