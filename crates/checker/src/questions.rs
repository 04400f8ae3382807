//! What runs under faults ask for, simulated and real: the policies, the targets, and who says what
//! to a note.
//!
//! Invariant: whose lead a call is of says what it asks for.

/// The leads of notes, each of its own, begin here; those before are of calls.
pub const NOTES_FROM: u64 = 1_000_000_000;
/// So many people let a note out.
pub const VOTES_NEEDED: usize = 2;

/// One call per lead within a window, and notes that people let out.
#[must_use]
pub fn gates(window_seconds: u64) -> String {
    format!(
        "gates:\n  - name: calls\n    resource: phone.*\n    policies:\n      \
         - idempotency_key: {{ window_seconds: {window_seconds}, key: lead_id }}\n  \
         - name: notes\n    resource: crm.*\n    policies:\n      \
         - require_approval: always\n      - require_approvals: {VOTES_NEEDED}\n"
    )
}

/// The names and documents of the destinations, all at one target, such as `http://target`.
#[must_use]
pub fn destinations(target: &str) -> [(&'static str, String); 3] {
    let places = [
        ("phone.plain", "/plain", ""),
        ("phone.keyed", "/keyed", "idempotency: header\n"),
        ("crm.note", "/plain", ""),
    ];
    places.map(|(name, path, more)| {
        let request = format!("{{url: \"{target}{path}\", timeout: 2s}}");
        (name, format!("kind: http\nrequest: {request}\nconcurrency: 64\n{more}"))
    })
}

/// Whether the target of a lead does the same call once however often it is made.
#[must_use]
pub fn is_keyed(lead: u64) -> bool {
    lead < NOTES_FROM && lead % 2 == 1
}

/// Which resource the call of a lead asks for.
#[must_use]
pub fn resource(lead: u64) -> &'static str {
    if is_keyed(lead) { "phone.keyed" } else { "phone.plain" }
}

/// Who of three people says what to the note of a turn, and whether it is a no: of six one is
/// rejected meanwhile, one is left alone, one has the yes of one only, twice.
#[must_use]
pub fn words(turn: u64) -> &'static [(usize, bool)] {
    match turn % 6 {
        0 => &[(0, false), (1, false), (2, true)],
        1 => &[],
        2 => &[(0, false), (0, false)],
        _ => &[(0, false), (1, false), (2, false)],
    }
}
