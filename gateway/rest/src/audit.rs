//! Which requests are audited, and as what. This is the one place: a handler only adds what its path does not say.

use std::sync::Arc;

use axum::RequestExt as _;
use axum::extract::{RawPathParams, Request};
use axum::http::Method;
use axum::response::Response;
use lakegate_catalog::{AuditAction, AuditEntry, DatasetName, ErrorKind, NewPrincipal, Protocol, Trail, Visit};
use lakegate_query::QueryRequest;
use uuid::Uuid;

use crate::problem::Problem;

use AuditAction::{
    ChangeDataset, ChangeGrant, ChangeGroup, ChangeJob, ChangeNamespace, ChangePolicy, ChangePrincipal, ChangeToken,
    CreateDataset, DeleteDataset, LogIn, Maintain, Push, Query, ShowDataset, ShowGrants,
};

/// Every route, and what it does to what; `None` where nothing is done, and nothing told but what the caller may list. A
/// refused credential is recorded on all of them.
const ROUTES: &[(&str, &str, Option<AuditAction>)] = &[
    ("GET", "/", None),
    ("GET", "/docs", None),
    ("GET", "/healthz", None),
    ("GET", "/metrics", None),
    ("GET", "/openapi.json", None),
    ("GET", "/readyz", None),
    ("GET", "/v1/datasets", None),
    ("POST", "/v1/datasets", Some(CreateDataset)),
    ("GET", "/v1/datasets/{ns}/{name}", Some(ShowDataset)),
    ("PATCH", "/v1/datasets/{ns}/{name}", Some(ChangeDataset)),
    ("DELETE", "/v1/datasets/{ns}/{name}", Some(DeleteDataset)),
    ("POST", "/v1/datasets/{ns}/{name}/compact", Some(Maintain)),
    ("POST", "/v1/datasets/{ns}/{name}/ingest", Some(Push)),
    ("GET", "/v1/datasets/{ns}/{name}/policy", Some(ShowDataset)),
    ("PUT", "/v1/datasets/{ns}/{name}/policy", Some(ChangePolicy)),
    ("DELETE", "/v1/datasets/{ns}/{name}/policy", Some(ChangePolicy)),
    ("GET", "/v1/datasets/{ns}/{name}/rows", Some(Query)),
    ("POST", "/v1/datasets/{ns}/{name}/vacuum", Some(Maintain)),
    ("GET", "/v1/datasets/{ns}/{name}/versions", Some(ShowDataset)),
    ("GET", "/v1/events", None),
    ("GET", "/v1/grants", Some(ShowGrants)),
    ("PUT", "/v1/grants", Some(ChangeGrant)),
    ("DELETE", "/v1/grants", Some(ChangeGrant)),
    ("GET", "/v1/groups", None),
    ("POST", "/v1/groups", Some(ChangeGroup)),
    ("DELETE", "/v1/groups/{name}", Some(ChangeGroup)),
    ("GET", "/v1/groups/{name}/members", None),
    ("PUT", "/v1/groups/{name}/members/{principal}", Some(ChangeGroup)),
    ("DELETE", "/v1/groups/{name}/members/{principal}", Some(ChangeGroup)),
    ("GET", "/v1/jobs", None),
    ("POST", "/v1/jobs", Some(ChangeJob)),
    ("GET", "/v1/jobs/{id}", None),
    ("DELETE", "/v1/jobs/{id}", Some(ChangeJob)),
    ("GET", "/v1/jobs/{id}/events", None),
    ("GET", "/v1/jobs/{id}/log", None),
    ("GET", "/v1/jobs/{id}/result", Some(Query)),
    ("POST", "/v1/login", Some(LogIn)),
    ("GET", "/v1/namespaces", None),
    ("POST", "/v1/namespaces", Some(ChangeNamespace)),
    ("DELETE", "/v1/namespaces/{name}", Some(ChangeNamespace)),
    ("GET", "/v1/principals", None),
    ("POST", "/v1/principals", Some(ChangePrincipal)),
    ("DELETE", "/v1/principals/{name}", Some(ChangePrincipal)),
    ("PUT", "/v1/principals/{name}/password", Some(ChangePrincipal)),
    ("DELETE", "/v1/principals/{name}/password", Some(ChangePrincipal)),
    ("GET", "/v1/queries", None),
    ("GET", "/v1/queries/{id}", None),
    // What it stops is recorded.
    ("DELETE", "/v1/queries/{id}", None),
    ("GET", "/v1/query", Some(Query)),
    ("POST", "/v1/query", Some(Query)),
    ("GET", "/v1/receipts/{receipt}", Some(ShowDataset)),
    ("GET", "/v1/tokens", None),
    ("POST", "/v1/tokens", Some(ChangeToken)),
    ("DELETE", "/v1/tokens/{id}", Some(ChangeToken)),
    ("GET", "/v1/whoami", None),
];

fn action(method: &Method, route: &str) -> Option<AuditAction> {
    let method = if method == Method::HEAD { "GET" } else { method.as_str() };
    ROUTES.iter().find(|(of, path, _)| *of == method && *path == route).and_then(|(_, _, action)| *action)
}

/// Begins to note a request. Handlers find the visit through [`crate::caller::Identified`].
pub(crate) async fn begin(trail: &Arc<Trail>, request: &mut Request, route: &str, request_id: &str) -> Arc<Visit> {
    let action = action(request.method(), route);
    let entry = AuditEntry::new(Protocol::Rest, action.unwrap_or(AuditAction::Authenticate), None);
    let mut entry = AuditEntry { request_id: Some(request_id.to_owned()), ..entry };
    if action.is_some()
        && let Ok(named) = request.extract_parts::<RawPathParams>().await
    {
        name(&mut entry, &named.iter().collect::<Vec<_>>());
    }
    let visit = if action.is_some() { Visit::begin(trail, entry) } else { Visit::passing(trail, entry) };
    let visit = Arc::new(visit);
    request.extensions_mut().insert(Arc::clone(&visit));
    visit
}

/// Notes what the path names. What can be no name is left out: it may be anything, such as a token in the wrong place.
fn name(entry: &mut AuditEntry, named: &[(&str, &str)]) {
    if let [("ns", namespace), ("name", dataset)] = named {
        entry.dataset = DatasetName::new(namespace, dataset).ok();
        return;
    }
    let harmless = |text: &&str| NewPrincipal::valid_name(text) || Uuid::parse_str(text).is_ok();
    let names: Vec<&str> = named.iter().map(|(_, value)| *value).filter(harmless).collect();
    if !names.is_empty() && names.len() == named.len() {
        entry.say(names.join(" "));
    }
}

/// Notes how a request has ended.
pub(crate) fn end(visit: &Visit, method: &Method, route: &str, response: &Response) {
    let problem = response.extensions().get::<Problem>();
    if problem.is_some_and(|problem| problem.kind == ErrorKind::Unauthenticated) {
        visit.note(|entry| {
            if entry.by.is_none() && entry.action != LogIn {
                entry.action = AuditAction::Authenticate;
                entry.say(format_args!("{method} {route}"));
            }
        });
    }
    visit.end(problem.map(|problem| (problem.kind, problem.code)));
}

/// The query of a request, which the engine tells of from here on.
pub(crate) fn asked(visit: &Visit, request: QueryRequest) -> QueryRequest {
    QueryRequest { protocol: Protocol::Rest, request_id: visit.leave(), ..request }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_says_whether_it_is_audited() {
        let document = serde_json::to_value(crate::document()).expect("JSON");
        let paths = document["paths"].as_object().expect("paths");
        for (path, methods) in paths {
            for method in methods.as_object().expect("methods").keys() {
                let method = method.to_uppercase();
                let told = ROUTES.iter().filter(|(of, route, _)| *of == method && route == path).count();
                assert_eq!(told, 1, "{method} {path} is to be in the table of audit.rs, once");
            }
        }
        for (method, route, _) in ROUTES {
            assert!(paths[*route].get(method.to_lowercase()).is_some(), "{method} {route} is gone");
        }
    }

    #[test]
    fn a_path_names_what_can_be_named_and_nothing_else() {
        let named = |pairs: &[(&str, &str)]| {
            let mut entry = AuditEntry::new(Protocol::Rest, ChangeToken, None);
            name(&mut entry, pairs);
            (entry.dataset.map(|name| name.to_string()), entry.detail)
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(named(&[("ns", "geo"), ("name", "quakes")]), (text("geo.quakes"), None));
        assert_eq!(named(&[("ns", "geo"), ("name", "No Such")]), (None, None));
        assert_eq!(named(&[("name", "crew"), ("principal", "ada")]), (None, text("crew ada")));
        assert_eq!(named(&[("name", "crew"), ("principal", "lg_SeCrEt")]), (None, None));
        let id = Uuid::now_v7().to_string();
        assert_eq!(named(&[("id", &id)]), (None, Some(id.clone())));
        assert_eq!(named(&[]), (None, None));
    }
}
