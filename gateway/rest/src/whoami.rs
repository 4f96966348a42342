//! `/v1/whoami`: whom a token belongs to.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::caller::Identified;
use crate::principals::PrincipalDocument;
use crate::problem::Result;

/// Who calls.
#[derive(Serialize, ToSchema)]
pub(crate) struct WhoAmI {
    /// The principal of the token; null without one.
    principal: Option<PrincipalDocument>,
    /// The role on the whole instance, if any.
    instance_role: Option<String>,
}

/// Who the caller is.
#[utoipa::path(get, path = "/v1/whoami", tag = "access", responses(
    (status = 200, description = "The caller", body = WhoAmI),
))]
pub(crate) async fn whoami(
    State(app): State<Arc<App>>,
    Identified { caller, .. }: Identified,
) -> Result<axum::Json<WhoAmI>> {
    let Some(principal) = caller.principal() else {
        return Ok(axum::Json(WhoAmI { principal: None, instance_role: None }));
    };
    let instance_role = app.catalog.role_on_instance(&caller).await?.map(|role| role.to_string());
    Ok(axum::Json(WhoAmI { principal: Some(principal.clone().into()), instance_role }))
}
