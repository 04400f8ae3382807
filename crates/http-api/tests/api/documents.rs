//! Documents that must not drift: the OpenAPI document, the page of limits, the error pages.

use std::collections::BTreeSet;

use crate::support::Door;

const LIMITS: &str = include_str!("../../../types/src/limits.rs");
const PAGE: &str = include_str!("../../../../docs/limits.md");

#[tokio::test]
async fn every_route_is_in_the_document_and_every_reference_resolves() {
    let door = Door::open().await;
    let document = door.get("/openapi.json", "").await.is(200).body;
    let listed: BTreeSet<String> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| {
            methods.as_object().unwrap().keys().map(move |method| format!("{method} {path}"))
        })
        .collect();
    #[rustfmt::skip]
    let expected = [
        "delete /v1/channels/{name}", "delete /v1/destinations/{name}",
        "delete /v1/policies/{id}", "get /.well-known/gate", "get /health", "get /livez",
        "get /openapi.json", "get /readyz", "get /v1/agents", "get /v1/agents/{id}",
        "get /v1/audit/checkpoint", "get /v1/audit/entries", "get /v1/audit/{id}",
        "get /v1/channels",
        "get /v1/channels/{name}", "get /v1/cluster", "get /v1/destinations",
        "get /v1/destinations/{name}", "get /v1/approval-links/{token}",
        "get /v1/executions/{id}", "get /v1/freezes", "get /v1/freezes/{id}", "get /v1/intents",
        "post /v1/freezes/{id}/unfreeze", "put /v1/freezes",
        "get /v1/intents/{id}", "get /v1/intents/{id}/approval-link",
        "get /v1/intents/{id}/audit", "get /v1/intents/{id}/decision",
        "get /v1/metrics", "get /v1/namespaces", "get /v1/nonce",
        "get /v1/policies", "get /v1/policies/{id}",
        "get /v1/policies/{id}/versions", "get /v1/proposals", "get /v1/proposals/{id}",
        "post /v1/agents/register", "post /v1/agents/{id}/resume", "post /v1/agents/{id}/revoke",
        "post /v1/agents/{id}/role", "post /v1/agents/{id}/rotate-key",
        "post /v1/agents/{id}/suspend",
        "post /v1/cluster/demote", "post /v1/cluster/join-token", "post /v1/cluster/promote",
        "post /v1/cluster/remove", "post /v1/cluster/transfer-leader",
        "post /v1/approval-links/{token}/approve",
        "post /v1/approval-links/{token}/reject", "post /v1/approve",
        "post /v1/executions/{id}/report", "post /v1/intents",
        "post /v1/intents/batch",
        "post /v1/intents/{id}/approve", "post /v1/intents/{id}/cancel",
        "post /v1/intents/{id}/cancel-approval",
        "post /v1/intents/{id}/execute", "post /v1/intents/{id}/reject",
        "post /v1/intents/{id}/resolve", "post /v1/namespaces", "post /v1/policies/simulate",
        "post /v1/propose", "post /v1/reject", "post /v1/webhooks/register",
        "get /v1/channels/{name}/deliveries", "put /v1/channels", "put /v1/channels/{name}",
        "put /v1/destinations", "put /v1/destinations/{name}", "put /v1/policies",
        "put /v1/policies/{id}",
    ];
    assert_eq!(listed, expected.map(str::to_owned).into());
    // A header is documented where it has an effect.
    for (path, expected) in [
        ("/v1/namespaces", true),
        ("/v1/agents/{id}/rotate-key", true),
        ("/v1/intents/{id}/approve", true),
        ("/v1/approval-links/{token}/approve", false),
        ("/v1/policies/simulate", false),
        ("/v1/intents/batch", false),
        ("/v1/cluster/remove", true),
    ] {
        let parameters = document["paths"][path]["post"]["parameters"].as_array().unwrap();
        let named = parameters.iter().any(|parameter| parameter["name"] == "Idempotency-Key");
        assert_eq!(named, expected, "{path}");
    }
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let text = document.to_string();
    for reference in text.split("#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(schemas.contains_key(name), "{name}");
    }
}

#[test]
fn the_page_of_limits_says_what_the_code_says() {
    let names: BTreeSet<&str> = LIMITS
        .lines()
        .filter_map(|line| line.strip_prefix("pub const "))
        .map(|rest| rest.split(':').next().unwrap())
        .collect();
    let mut shown = BTreeSet::new();
    for row in PAGE.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let (name, value) = (cells[0].trim_matches('`'), cells[1].replace(',', ""));
        shown.insert(name);
        assert_eq!(value_of(name), value.parse::<u128>().unwrap(), "{name}");
    }
    assert_eq!(shown, names);
}

/// The value of a constant as its product is written.
fn value_of(name: &str) -> u128 {
    let start = format!("pub const {name}:");
    let line = LIMITS.lines().find(|line| line.starts_with(&start)).expect("the limit is there");
    let product = line.split_once('=').expect("a limit has a value").1.trim_end_matches(';');
    if let Some(bits) = product.trim().strip_prefix("(1 << ") {
        let bits: u32 = bits.split(')').next().unwrap().parse().unwrap();
        return (1 << bits) - 1;
    }
    product
        .split('*')
        .map(|factor| factor.trim().replace('_', "").parse::<u128>().unwrap())
        .product()
}

#[test]
fn every_code_has_a_page_that_says_what_to_do() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/errors");
    for code in gate::CODES {
        let page = std::fs::read_to_string(format!("{folder}/{code}.md")).unwrap_or_default();
        assert!(page.starts_with(&format!("# {code}\n")), "docs/errors/{code}.md");
        assert!(page.contains("## What to do"), "docs/errors/{code}.md");
    }
}
