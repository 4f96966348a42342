//! `/healthz`: the process answers. `/readyz`: what it depends on answers too.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use lakegate_catalog::ErrorKind;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::problem::{Problem, ProblemDocument, Result};

/// A dependency that takes longer is not ready.
const READY_WITHIN: Duration = Duration::from_secs(5);

/// A healthy answer.
#[derive(Serialize, ToSchema)]
pub(crate) struct Health {
    /// Always `ok`; anything else is a problem document.
    status: &'static str,
}

/// Whether the process is alive.
#[utoipa::path(get, path = "/healthz", tag = "service", responses((status = 200, description = "Alive", body = Health)))]
pub(crate) async fn healthz() -> axum::Json<Health> {
    axum::Json(Health { status: "ok" })
}

/// Whether catalog and storage can be reached right now.
#[utoipa::path(get, path = "/readyz", tag = "service", responses(
    (status = 200, description = "Ready for requests", body = Health),
    (status = 503, description = "Catalog or storage cannot be reached", body = ProblemDocument, content_type = "application/problem+json"),
))]
pub(crate) async fn readyz(State(app): State<Arc<App>>) -> Result<axum::Json<Health>> {
    let slow = |what: &str| {
        Problem::new(ErrorKind::Unavailable, "not_ready", format!("{what} did not answer within {READY_WITHIN:?}"))
    };
    tokio::time::timeout(READY_WITHIN, app.catalog.ping()).await.map_err(|_| slow("the catalog"))??;
    tokio::time::timeout(READY_WITHIN, app.lake.ping()).await.map_err(|_| slow("storage"))??;
    Ok(axum::Json(Health { status: "ok" }))
}
