//! Reading an intent without a gate, for tools that judge one offline.
//!
//! Promise: what `POST /v1/intents` refuses for what it says is refused here too, in the same
//! words.

use gate::SubmitRequest;
use serde_json::{Map, Value};

use crate::body::JsonBody;
use crate::propose::{Spelling, read};

/// Reads an intent as `POST /v1/intents` does. Nobody asks who submits it.
///
/// # Errors
/// The message of the gate's answer, which names the field: it is missing, misspelled, of another
/// type, beyond its limit, or asks for an approval of a kind that there is not.
pub fn read_intent(intent: Map<String, Value>) -> Result<SubmitRequest, String> {
    // How long it was is not known, so everything is measured.
    let body = JsonBody::of(Value::Object(intent), usize::MAX);
    read(body, Spelling::Intents).map_err(|problem| problem.into_message())
}
