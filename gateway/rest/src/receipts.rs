//! Receipts: what a push answers, and what it can be asked about later.
//!
//! A receipt names dataset, version and row count; asking for it looks into the table's log, so it
//! is only ever confirmed when the rows are really there.

use std::sync::Arc;

use axum::extract::State;
use lakegate_catalog::ErrorKind;
use lakegate_ingest::Receipt;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::caller::Identified;
use crate::extract::Path;
use crate::problem::{Problem, Result};
use crate::words;

/// A receipt's meaning.
#[derive(Serialize, ToSchema)]
pub(crate) struct ReceiptDocument {
    receipt: String,
    /// Always `committed`: a receipt is given once the rows are durable.
    #[schema(value_type = words::PushStatus)]
    status: &'static str,
    /// The rows that the push added; null where a policy holds for the caller.
    rows: Option<u64>,
    /// The version that holds them.
    version: u64,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct ReceiptPath {
    /// As the push answered it.
    #[param(pattern = "^r1_[0-9a-f]{32}_[0-9a-f]{1,16}_[0-9a-f]{1,16}$")]
    receipt: String,
}

/// What a push stored, by its receipt. Kept as long as the table's log, at least 7 days.
#[utoipa::path(get, path = "/v1/receipts/{receipt}", tag = "push", params(ReceiptPath), responses(
    (status = 200, description = "What was stored", body = ReceiptDocument),
))]
pub(crate) async fn show_receipt(
    State(app): State<Arc<App>>,
    Identified { caller, visit, .. }: Identified,
    Path(path): Path<ReceiptPath>,
) -> Result<axum::Json<ReceiptDocument>> {
    let unknown =
        || Problem::new(ErrorKind::NotFound, "receipt_not_found", "no such receipt, or you may not see its dataset");
    let receipt = Receipt::decode(&path.receipt).ok_or_else(unknown)?;
    let access = app.catalog.access_by_id(&caller, receipt.dataset).await?.ok_or_else(unknown)?;
    visit.about(&access.dataset);
    visit.note(|entry| entry.version = Some(receipt.version));
    if receipt.version == 0 {
        // No push makes the version that a dataset begins with.
        return Err(unknown());
    }
    let rows = app.table(&access.dataset).await?.rows_added(receipt.version).await;
    let rows = rows.map_err(|error| Problem::with_dataset(&access.dataset.name, error))?.ok_or_else(unknown)?;
    // Whoever does not get all rows is not told how many there are, nor whether a number is right.
    let counted = access.policy().is_none();
    if counted && rows != receipt.rows {
        return Err(unknown());
    }
    Ok(axum::Json(ReceiptDocument {
        receipt: path.receipt,
        status: "committed",
        rows: counted.then_some(rows),
        version: receipt.version,
    }))
}
