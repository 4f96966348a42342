//! `/docs`: the API to read and try, in a page that asks no other host for anything.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};
use lakegate_catalog::ErrorKind;
use utoipa_swagger_ui::{Config, serve};

use crate::problem::{Problem, Result};

/// What the page may load and call: what comes from here. Its script writes styles into the page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
     font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The API to read and try.
#[utoipa::path(get, path = "/docs", tag = "service", responses((status = 303, description = "The page is at /docs/", headers(("Location" = String, description = "Where")))))]
pub(crate) async fn docs() -> Redirect {
    // With the slash, so that the page's parts are found beside it.
    Redirect::to("/docs/")
}

/// The page, and the parts of it.
pub(crate) async fn page(request: Request) -> Result<Response> {
    let name = request.uri().path().trim_start_matches("/docs/");
    let config = Config::new(["/openapi.json"]).validator_url("none").try_it_out_enabled(true);
    let file = serve(name, Arc::new(config)).map_err(Problem::defect)?.ok_or_else(|| {
        Problem::new(ErrorKind::NotFound, "not_found", "there is no such part of this page; start at /docs/")
    })?;
    let mut response = file.bytes.into_owned().into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_str(&file.content_type).map_err(Problem::defect)?);
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Ok(response)
}
