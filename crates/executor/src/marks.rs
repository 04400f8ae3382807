//! Marks: what stands for references to secrets while templates are rendered.
//!
//! References are replaced by marks that nobody can guess before rendering; their values come in
//! afterwards. So a template cannot work on a value, an error cannot show one, and a payload that
//! spells a reference stays a payload.
//! Invariant: only a reference that stands literally in the document is ever filled in.

use std::fmt::{self, Write as _};

use types::hex;

/// The marks of one call.
pub(crate) struct Marks {
    nonce: String,
    names: Vec<String>,
}

/// How a reference begins.
pub(crate) const OPENING: &str = "${secret:";
/// How the parts of a template begin and end that are not literal.
const CONSTRUCTS: [(&str, &str); 3] = [("{{", "}}"), ("{%", "%}"), ("{#", "#}")];

impl Marks {
    /// Marks of one call. Without randomness there are none, and so no call.
    pub(crate) fn draw() -> Result<Self, String> {
        let mut bytes = [0_u8; 16];
        getrandom::fill(&mut bytes).map_err(|error| format!("no randomness: {error}"))?;
        Ok(Self { nonce: format!("mark{}", hex(&bytes)), names: Vec::new() })
    }

    /// A template with marks in place of its references.
    ///
    /// # Errors
    /// A reference within an expression: its value is not there when that is evaluated.
    pub(crate) fn hide(&mut self, template: &str) -> Result<String, String> {
        for (is_literal, piece) in pieces(template) {
            if !is_literal && piece.contains(OPENING) {
                return Err("a secret stands within {{ }} or {% %}; put it beside them".into());
            }
        }
        let mut hidden = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once(OPENING) {
            let Some((name, after)) = after.split_once('}') else { break };
            // The letter at the end keeps 1 and 10 apart.
            let _ = write!(hidden, "{before}{}x{}x", self.nonce, self.names.len());
            self.names.push(name.to_owned());
            rest = after;
        }
        hidden.push_str(rest);
        Ok(hidden)
    }

    /// The rendered text in turn: literal pieces, and names of secrets.
    pub(crate) fn split<'t>(&'t self, rendered: &'t str) -> Vec<Piece<'t>> {
        let mut found = Vec::new();
        let mut rest = rendered;
        while let Some((before, after)) = rest.split_once(self.nonce.as_str()) {
            let number = after.strip_prefix('x').and_then(|after| after.split_once('x'));
            let name = number.and_then(|(number, after)| {
                Some((self.names.get(number.parse::<usize>().ok()?)?, after))
            });
            let Some((name, after)) = name else { break };
            found.extend([Piece::Text(before), Piece::Secret(name)]);
            rest = after;
        }
        found.push(Piece::Text(rest));
        found
    }
}

/// A part of a rendered text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece<'t> {
    /// As rendered.
    Text(&'t str),
    /// The name of a secret.
    Secret(&'t str),
}

/// The template in turn: pieces that stand as they are (true), and constructs (false).
pub(crate) fn pieces(template: &str) -> Vec<(bool, &str)> {
    let mut found = Vec::new();
    let mut rest = template;
    loop {
        let next = CONSTRUCTS
            .iter()
            .filter_map(|(opening, closing)| Some((rest.find(opening)?, *closing)))
            .min_by_key(|(at, _)| *at);
        let Some((at, closing)) = next else { break };
        let (literal, construct) = rest.split_at(at);
        let end = construct[2..].find(closing).map_or(construct.len(), |end| end + 4);
        let (construct, after) = construct.split_at(end);
        found.extend([(true, literal), (false, construct)]);
        rest = after;
    }
    found.push((true, rest));
    found.retain(|(_, piece)| !piece.is_empty());
    found
}

impl fmt::Debug for Marks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Marks").field("names", &self.names).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::material::{Material, Payload, context};
    use crate::template::{Place, render};

    #[test]
    #[rustfmt::skip]
    fn references_are_kept_out_of_rendering() {
        let mut marks = Marks::draw().unwrap();
        let template = "Bearer ${secret:a}${secret:b}\
                        {% if payload.x %}${secret:c}{% endif %}{{ payload.y }}";
        let hidden = marks.hide(template).unwrap();
        assert!(!hidden.contains("secret"), "{hidden}");
        let payload = r#"{"x":false,"y":"${secret:a} "}"#.to_owned();
        let material = Material {
            payload: Payload::Json(payload),
            metadata: Value::Null,
            intent: Value::Null,
        };
        let text = render(&hidden, Place::Header, &context(&material)).unwrap();
        let expected = [
            Piece::Text("Bearer "), Piece::Secret("a"), Piece::Text(""), Piece::Secret("b"),
            Piece::Text("${secret:a} "),
        ];
        assert_eq!(marks.split(&text), expected);
        for bad in ["{{ '${secret:a}' }}", "{% set x = '${secret:a}' %}", "{# ${secret:a} #}"] {
            assert!(marks.hide(bad).unwrap_err().contains("beside them"), "{bad}");
        }
        assert_ne!(Marks::draw().unwrap().nonce, marks.nonce);
    }

    #[test]
    fn ten_references_are_kept_apart() {
        let mut marks = Marks::draw().unwrap();
        let template: String = (0..12).map(|number| format!("${{secret:s{number}}}5x")).collect();
        let hidden = marks.hide(&template).unwrap();
        let names: Vec<_> = marks
            .split(&hidden)
            .into_iter()
            .filter_map(|piece| match piece {
                Piece::Secret(name) => Some(name.to_owned()),
                Piece::Text(_) => None,
            })
            .collect();
        assert_eq!(names, (0..12).map(|number| format!("s{number}")).collect::<Vec<_>>());
    }
}
