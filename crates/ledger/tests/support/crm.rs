//! Writes to a CRM: policies that hold them and know a repeat, and what an agent sends.

use serde_json::{Value, json};

pub const GATES: &str = "gates:
  - name: crm
    resource: crm.contacts
    policies:
      - require_approval_over: 2
      - idempotency_key: { window_seconds: 60, key: batch }
";

pub fn request(records: usize, batch: u64) -> Value {
    let records: Vec<Value> = (0..records).map(|id| json!({"id": id})).collect();
    json!({
        "resource": "crm.contacts",
        "payload": {"batch": batch, "records": records},
        "expires_in_ms": 90_000,
    })
}
