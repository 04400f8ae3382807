//! What messages of every kind are made of.

/// A text of at most so many characters, with a sign that there was more.
pub(crate) fn cut(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// The count of records, if there is one.
pub(crate) fn shown_count(count: Option<u64>) -> String {
    match count {
        Some(1) => ", 1 record".into(),
        Some(count) => format!(", {count} records"),
        None => String::new(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use gate::{Dispatch, Target};
    use ledger::{DeliveryRow, DeliveryStatus, Receiver};
    use types::*;

    use super::*;

    /// A notification about an intent that 847 records made wait for people.
    pub(crate) fn dispatch(notice: Notice) -> Dispatch {
        let reason = Reason {
            source: RuleSource::Gate("crm".into()),
            rule: "require_approval_over".into(),
            outcome: Outcome::Hold,
            message: "Record count 847 exceeds auto-approve threshold (100)".into(),
            place: Place::default(),
            hits: vec![],
            hits_total: 0,
        };
        Dispatch {
            row: DeliveryRow {
                id: DeliveryId(9),
                to: Receiver::Channel("ops".into()),
                intent: IntentId(7),
                notice,
                fired_at: LogTime(1_790_000_000_000),
                actor: "rita".into(),
                reason: Some("no".into()),
                attempts: 0,
                status: DeliveryStatus::Pending,
                at: LogTime(1_790_000_000_000),
                error: None,
            },
            namespace: NamespaceId::DEFAULT,
            namespace_name: "default".into(),
            to: Some(Target::Webhook { url: "http://127.0.0.1:1/".into(), secret: None }),
            destination: "crm.contacts".into(),
            trigger: Some("write".into()),
            record_count: Some(847),
            reasons: vec![reason],
            agent: "enrichment-bot".into(),
        }
    }

    #[test]
    fn a_cut_text_says_that_there_was_more() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöü", 2), "äö…");
        assert_eq!(shown_count(Some(1)) + &shown_count(None), ", 1 record");
    }
}
