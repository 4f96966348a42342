//! The description of the calls, made from the list that serves them.

use serde_json::{Map, Value, json};

use crate::protocol::{ALL, CALLS, PROTOCOL, PROTOCOL_HEADER};

/// An OpenAPI 3.1 document.
pub(crate) fn document() -> Value {
    let mut paths = Map::new();
    for call in ALL {
        let properties: Map<String, Value> = call.fields.iter().map(|field| ((*field).to_owned(), json!({}))).collect();
        let operation = json!({
            "operationId": call.name,
            "summary": call.about,
            "tags": [if call.reads { "reads" } else { "writes" }],
            "security": [{ "gateway": [] }],
            "parameters": [{ "name": PROTOCOL_HEADER, "in": "header", "required": true, "schema": { "const": PROTOCOL } }],
            "requestBody": { "required": true, "content": { "application/json": { "schema": {
                "type": "object", "properties": properties, "additionalProperties": false,
            } } } },
            "responses": {
                "200": { "description": "The answer" },
                "401": { "description": "No token of a gateway" },
                "default": { "description": "The catalog's refusal, or a problem document" },
            },
        });
        paths.insert(format!("{CALLS}{}", call.name), json!({ "post": operation }));
    }
    for (path, about) in [
        ("/healthz", "Whether the process answers"),
        ("/readyz", "Whether its store does"),
        ("/metrics", "Counts for Prometheus"),
    ] {
        let operation = json!({ "summary": about, "responses": { "200": { "description": "An answer" } } });
        paths.insert(path.to_owned(), json!({ "get": operation }));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Lakegate catalog",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What gateways ask their companion. Both are of one version; it is no API for others.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "components": { "securitySchemes": { "gateway": { "type": "http", "scheme": "bearer" } } },
    })
}
