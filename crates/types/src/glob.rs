//! Patterns over names: `*` stands for any characters, dots included; names are case-sensitive.

/// True if `name` matches `pattern`.
#[must_use]
pub fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, mut rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut name) = name.strip_prefix(head) else {
        return false;
    };
    while let Some((middle, after)) = rest.split_once('*') {
        let Some(at) = name.find(middle) else {
            return false;
        };
        name = &name[at + middle.len()..];
        rest = after;
    }
    name.ends_with(rest)
}

/// How well a pattern fits a name it matches: the exact name beats every pattern, then the longest
/// literal prefix. `None` if it does not match.
#[must_use]
pub fn fit(pattern: &str, name: &str) -> Option<(bool, usize)> {
    let literal = pattern.split('*').next().unwrap_or_default().len();
    matches(pattern, name).then_some((pattern == name, literal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exact_name_beats_the_longest_prefix() {
        let best = |name| {
            let patterns = ["*", "crm.*", "crm.contacts", "crm.con*"];
            patterns.into_iter().max_by_key(|pattern| fit(pattern, name))
        };
        assert_eq!(best("crm.contacts"), Some("crm.contacts"));
        assert_eq!(best("crm.contracts"), Some("crm.con*"));
        assert_eq!(best("crm.deals"), Some("crm.*"));
        assert_eq!(best("email.batch"), Some("*"));
        assert_eq!(fit("crm.*", "email"), None);
    }
}
