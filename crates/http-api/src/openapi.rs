//! The OpenAPI document, made from the table of routes.

use serde_json::{Map, Value, json};

use crate::body::NDJSON;
use crate::routes::{Route, Who, routes};
use crate::schemas::schemas;

/// The document as bytes.
pub(crate) fn document(version: &str) -> Vec<u8> {
    let mut paths: Map<String, Value> = Map::new();
    for route in routes() {
        let methods = paths.entry(route.path).or_insert_with(|| json!({}));
        methods[route.method.as_str().to_ascii_lowercase()] = operation(&route);
    }
    let document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Quorum Gate",
            "version": version,
            "description": "Stands between an agent's decision to write and the write. Problems \
                are JSON: `error`, `message`, `request_id`, and more by kind.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": { "key": { "type": "http", "scheme": "bearer" } },
            "schemas": schemas(),
        },
    });
    // Values have string keys only and cannot fail otherwise.
    serde_json::to_vec(&document).unwrap_or_default()
}

fn operation(route: &Route) -> Value {
    let mut responses = Map::new();
    for (status, schema) in route.answers {
        responses.insert(status.to_string(), response("The answer", schema));
    }
    responses.insert("default".into(), response("A problem", "Problem"));
    let mut operation = json!({
        "summary": route.summary,
        "parameters": parameters(route),
        "responses": responses,
    });
    match route.who {
        Who::Open => operation["security"] = json!([]),
        Who::Token(which) => {
            operation["security"] = json!([]);
            operation["description"] = format!("Needs {which}.").into();
        }
        Who::Key(roles) => {
            operation["security"] = json!([{ "key": [] }]);
            operation["description"] = format!("Needs a key: {roles}.").into();
        }
    }
    if let Some(schema) = route.body {
        let kind = media_type(schema);
        operation["requestBody"] = json!({ "content": { kind: { "schema": reference(schema) } } });
    }
    operation
}

fn response(description: &str, schema: &str) -> Value {
    let content = json!({ media_type(schema): { "schema": reference(schema) } });
    json!({ "description": description, "content": content })
}

fn media_type(schema: &str) -> &'static str {
    match schema {
        "Yaml" => "application/yaml",
        // The schema is that of one line.
        "ProposeLine" | "ProposeLineAnswer" => NDJSON,
        _ => "application/json",
    }
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

fn parameters(route: &Route) -> Vec<Value> {
    let text = json!({ "type": "string" });
    let in_path = route.path.split('/').filter_map(|part| {
        let name = part.strip_prefix('{')?.strip_suffix('}')?;
        Some(json!({ "name": name, "in": "path", "required": true, "schema": text }))
    });
    let in_query = route
        .query
        .iter()
        .map(|name| json!({ "name": name, "in": "query", "required": false, "schema": text }));
    let mut parameters: Vec<Value> = in_path.chain(in_query).collect();
    if route.remembers_requests() {
        parameters.push(json!({
            "name": "Idempotency-Key", "in": "header", "required": false, "schema": text,
        }));
    }
    if matches!(route.body, Some("Yaml" | "PolicySet" | "DestinationSet" | "ChannelSet")) {
        parameters.push(json!({
            "name": "If-Match", "in": "header", "required": false, "schema": text,
        }));
    }
    parameters
}
