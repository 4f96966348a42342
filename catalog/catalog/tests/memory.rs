//! The catalog in memory keeps the contract.

use std::sync::Arc;

use lakegate_catalog::{Catalog, MemoryCatalog, contract};

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
async fn keeps_the_contract_of_grants() {
    contract::grants(make).await;
}

#[tokio::test]
async fn keeps_the_contract_of_the_first_owner() {
    contract::owner(make).await;
}

#[tokio::test]
async fn keeps_the_contract_in_races() {
    contract::races(make).await;
}
