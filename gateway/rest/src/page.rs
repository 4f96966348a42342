//! `/`: a plain page that says where to go. Nothing is loaded from outside.

use axum::response::Html;

/// The start page.
#[utoipa::path(get, path = "/", tag = "service", responses((status = 200, description = "A page with links", content_type = "text/html", body = String)))]
pub(crate) async fn start_page() -> Html<&'static str> {
    Html(include_str!("page.html"))
}
