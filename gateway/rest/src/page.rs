//! `/`: a plain page that says where to go. Nothing is loaded from outside.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Html;

use crate::app::App;

/// The start page.
#[utoipa::path(get, path = "/", tag = "service", responses((status = 200, description = "A page with links", content_type = "text/html", body = String)))]
pub(crate) async fn start_page(State(app): State<Arc<App>>, request: Request) -> Html<String> {
    // A host and a port, and nothing that HTML would read otherwise.
    let base = app.edge.base(&request).unwrap_or_else(|| "http://localhost:7780".to_owned());
    Html(include_str!("page.html").replace("{base}", &base))
}
