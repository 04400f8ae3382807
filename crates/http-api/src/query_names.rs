//! Query parameters that a route takes. One that it does not take would be ignored, and the caller
//! would believe that it was not: `?limt=1` gives everything, `?stauts=held` too.

use std::collections::HashMap;
use std::sync::LazyLock;

use axum::extract::MatchedPath;
use axum::http::Method;
use axum::http::request::Parts;

use crate::fields;
use crate::problem::Problem;
use crate::routes::{Who, routes};

/// What every read takes, and every change that reads back.
const EVERYWHERE: [&str; 2] = ["consistency", "min_index"];

/// By path and method; open routes are asked by probes of all kinds and are not in it.
static KNOWN: LazyLock<HashMap<(&'static str, Method), Vec<&'static str>>> = LazyLock::new(|| {
    let closed = routes().into_iter().filter(|route| route.who != Who::Open);
    let names = |names: &[&'static str]| {
        let more = EVERYWHERE.into_iter().filter(|name| !names.contains(name));
        names.iter().copied().chain(more).collect()
    };
    closed.map(|route| ((route.path, route.method), names(route.query))).collect()
});

/// Refuses parameters that the route does not take.
///
/// # Errors
/// 400 that names the parameter, and the one that was meant or all that the route takes.
pub(crate) fn check_names(parts: &Parts, query: &[(String, String)]) -> Result<(), Problem> {
    let Some(path) = parts.extensions.get::<MatchedPath>().filter(|_| !query.is_empty()) else {
        return Ok(());
    };
    let method = if parts.method == Method::HEAD { Method::GET } else { parts.method.clone() };
    let route = KNOWN.iter().find(|((known, by), _)| *known == path.as_str() && *by == method);
    let Some((_, valid)) = route else { return Ok(()) };
    match query.iter().find(|(name, _)| !valid.contains(&name.as_str())) {
        None => Ok(()),
        Some((name, _)) => {
            // What was sent may be anything; a name that is near a known one is short.
            let shown: String = name.chars().take(64).collect();
            let message = match fields::nearest(&shown, valid.iter().copied()) {
                Some(nearest) => format!("no such query parameter; did you mean `{nearest}`?"),
                None => format!("no such query parameter; there are {}", valid.join(", ")),
            };
            Err(Problem::field(shown, message))
        }
    }
}
