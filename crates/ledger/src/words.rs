//! Words that refusals have in common, where they depend on what something is.

use alloc::string::String;

use policy::ProfileFault;
use types::Phase;

/// What a stopped principal can do, by the word for what it is.
#[must_use]
pub fn what_next(status: &str) -> &'static str {
    match status {
        "suspended" => "; a reviewer or an admin can resume it",
        "revoked" => " for ever; an admin can register another",
        _ => "",
    }
}

/// For what an intent waits that nobody decides any more.
pub(crate) fn waits(phase: Phase) -> String {
    let for_what = match phase {
        Phase::InDoubt => "waits for a person to say how it ended (`qgate intent resolve`)",
        Phase::Allowed => "waits for no approval any more, only to be run",
        Phase::Claimed => "waits for no approval any more: it is being run",
        _ => "waits for nobody",
    };
    alloc::format!("{} and {for_what}", phase.name())
}

pub(crate) fn profile_says(fault: &ProfileFault) -> String {
    match fault {
        ProfileFault::Required { required } => {
            alloc::format!("policy asks for a typed profile; send `profile`: \"{required}\"")
        }
        ProfileFault::Mismatch { required, sent } => {
            alloc::format!("policy asks for profile {required}, not {sent}; send that one")
        }
        ProfileFault::Invalid { profile, messages } => {
            alloc::format!("metadata does not fit profile {profile}: {}", messages.join("; "))
        }
    }
}
