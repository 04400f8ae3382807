//! Documents: what loads, what is refused, and where the finger points.

mod common;

use common::{compiled, file, problems};
use policy::{DocumentKind, Problem, SourceFile, compile, is_policy_file};
use proptest::prelude::*;

#[test]
#[rustfmt::skip]
fn a_problem_names_line_column_and_the_nearest_word() {
    let cases = [
        ("gates:\n- name: a\n  triger: b\n  resource: x\n  policies: []\n",
         "3:3: unknown key `triger` (did you mean `trigger`?)"),
        ("gates:\n- name: a\n  resource: x\n  policies:\n  - require_aproval_over: 5\n",
         "5:5: unknown key `require_aproval_over` (did you mean `require_approval_over`?)"),
        ("gates:\n- name: a\n  resource: x\n  policies: [require_approval_if_template_eror]\n",
         "4:14: unknown key `require_approval_if_template_eror` (did you mean \
          `require_approval_if_template_error`?)"),
        ("gatess: []\n", "1:1: unknown key `gatess` (did you mean `gates`?)"),
        ("gates: []\ngatesz: 1\n", "2:1: unknown key `gatesz` (did you mean `gates`?)"),
        ("gates:\n  - name: a\n   trigger: b\n",
         "3:4: the line belongs to no entry of the list above: indent it like the entry, or begin \
          it with `-`"),
        ("a:\n  b: 1\n c: 2\n",
         "3:2: the line belongs to no mapping above: keys of one mapping stand in one column"),
        ("gates:\n\t- name: a\n", "2:2: a tab cannot indent; use spaces"),
        ("notes: a: b\n",
         "1:9: a `:` where no key can stand: check the indentation, or put the text in quotes"),
        ("require_approval_over: 1e400\n", "1:24: `1e400` is no number that can be used"),
        ("gates:\n- {name: a, resource: x, policies: []}\n",
         "2:36: no rules: everything that matches would be allowed; where that is meant, say up to \
          what size, such as `require_approval_over: 100000`"),
        ("gate: {resources: {r: {policies: {}}}}\n",
         "1:34: no rules: everything that matches would be allowed; where that is meant, say up to \
          what size, such as `require_approval_over: 100000`"),
        ("require_approval_over: 5\nrequire_approval_over: 6\n",
         "2:1: the key `require_approval_over` stands here twice"),
        ("on_no_response: auto_approve_if_low_risk\n",
         "1:17: a time-out never approves; write `reject`"),
        ("gate:\n  default_policy: require_approval_over: 50\n",
         "2:40: a `:` where no key can stand: check the indentation, or put the text in quotes"),
        ("gates:\n- {name: a, policies: []}\n", "2:3: `resource` is missing; `\"*\"` means any"),
        ("a: *x\n", "1:4: alias references unknown anchor"),
        ("a: b\n---\na: c\n", "2:1: more than one document in a file"),
        ("", "1:1: the document is empty"),
        ("hello\n", "1:1: expected a mapping at the top, found text"),
        ("a: \0", "1:4: NUL in the document"),
    ];
    for (text, expected) in cases {
        assert_eq!(problems("p.yaml", text), [format!("p.yaml:{expected}")], "{text:?}");
    }
}

/// Every key of the vocabulary is known; what becomes of it depends on what leaving it out allows.
#[test]
fn keys_whose_feature_comes_later_warn_or_refuse() {
    let refused = [
        "budgets: {usd: 5}",
        "hold_during: {days: [fri]}",
        "require_approval_when: 'count > 5'",
        "block_when: 'count > 5'",
        "require_approval_if_changes_over: {percent: 5}",
        "expires_after: 5m",
        "assurance: {low: [passkey]}",
        "allowed_recipients: [a@example.com]",
        "block_if_pii: true",
        "on_no_response: approve",
        "mode: shadwo",
    ];
    for line in refused {
        assert_eq!(problems("p.yaml", line).len(), 1, "{line}");
    }
    let warned = [
        "block_if_pii: false",
        "approval_channel: {provider: slack}",
        "delivery: email",
        "expiry_minutes: 5",
        "id: other",
        "notes: text",
        "mode: shadow",
        "on_expiry: escalate",
        "on_no_response: defer",
    ];
    for line in warned {
        assert_eq!(compiled(&[("p.yaml", line)]).warnings.len(), 1, "{line}");
    }
    for line in ["mode: enforce", "on_expiry: expire", "on_no_response: reject"] {
        assert_eq!(compiled(&[("p.yaml", line)]).warnings, [], "{line}");
    }
}

#[test]
fn long_deep_and_exploding_documents_are_refused_where_the_limit_is_crossed() {
    let row = |name: char, of: char| {
        format!("{name}: &{name} [{}]\n", vec![format!("*{of}"); 10].join(","))
    };
    let bomb = format!(
        "a: &a [x,x,x,x,x,x,x,x,x,x]\n{}{}{}{}",
        row('b', 'a'),
        row('c', 'b'),
        row('d', 'c'),
        row('e', 'd')
    );
    let cases = [
        (bomb, "4:", "more than 10000 nodes, anchors expanded"),
        (format!("block_if_terms:\n{}", "- a\n".repeat(10_500)), "9999:", "more than 10000 nodes"),
        (format!("a: {}{}", "[".repeat(40), "]".repeat(40)), "1:35:", "nested deeper than 32"),
        ("# x\n".repeat(2_600_000), "262145:1:", "longer than 1048576 bytes"),
    ];
    for (text, place, message) in cases {
        let found = problems("p.yaml", &text);
        let expected = found[0].starts_with(&format!("p.yaml:{place}"));
        assert!(expected && found[0].contains(message), "{found:?}");
    }
    let latin = SourceFile { name: "p.yaml".into(), bytes: b"# ok\na: \xff".to_vec() };
    let problem = compile(&[latin]).unwrap_err().remove(0);
    assert_eq!(problem.to_string(), "p.yaml:2:4: invalid UTF-8");
}

/// What a document is made into is bounded by more than its own length.
#[test]
fn what_multiplies_is_refused_where_the_limit_is_crossed() {
    let environments = |count: usize| {
        let names: String = (0..count).map(|at| format!("  e{at}: {{}}\n")).collect();
        format!("environments:\n{names}")
    };
    assert_eq!(problems("p.yaml", &environments(64)), Vec::<String>::new());
    assert_eq!(problems("p.yaml", &environments(65)), ["p.yaml:66:3: more than 64 environments"]);

    let terms: String = (0..60).map(|at| format!("- {at:0>3000}\n")).collect();
    let found = problems("p.yaml", &format!("block_if_terms:\n{terms}{}", environments(64)));
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("p.yaml:85:3: the compiled form is longer than"), "{found:?}");

    let patterns =
        |count: usize| format!("field_checks:\n{}", "- {path: a, pattern: b}\n".repeat(count));
    assert_eq!(problems("p.yaml", &patterns(256)), Vec::<String>::new());
    let found = problems("p.yaml", &patterns(257));
    assert_eq!(found, ["p.yaml:258:22: more than 256 patterns in one document"]);
}

/// A set is bounded too: nobody gets around a limit with a second file.
#[test]
fn what_documents_are_made_into_together_is_bounded() {
    let told = |files: &[(&str, &str)]| -> Vec<String> {
        let files: Vec<_> = files.iter().map(|(name, text)| file(name, text)).collect();
        let problems = compile(&files).err().unwrap_or_default();
        problems.iter().map(ToString::to_string).collect()
    };
    let patterns = format!("field_checks:\n{}", "- {path: a, pattern: b}\n".repeat(200));
    assert_eq!(told(&[("a.yaml", &patterns), ("b.yaml", &patterns)]), Vec::<String>::new());
    let three = told(&[("a.yaml", &patterns), ("b.yaml", &patterns), ("c.yaml", &patterns)]);
    assert_eq!(three, ["c.yaml:1:1: more than 512 patterns in the set"]);

    let names: String = (0..60).map(|at| format!("  e{at}: {{}}\n")).collect();
    let terms: String = (0..22).map(|at| format!("- {at:0>3000}\n")).collect();
    let large = format!("block_if_terms:\n{terms}environments:\n{names}");
    let files = ["a.yaml", "b.yaml", "c.yaml", "d.yaml", "e.yaml"].map(|name| (name, &*large));
    assert_eq!(told(&files[..4]), Vec::<String>::new());
    let found = told(&files);
    assert!(found.len() == 1 && found[0].starts_with("e.yaml:1:1: the compiled form"), "{found:?}");
}

#[test]
fn problems_are_told_up_to_a_number_and_names_up_to_a_length() {
    let many: String = (0..4_000).map(|at| format!("zz{at}: 1\n")).collect();
    assert_eq!(problems("p.yaml", &many).len(), 100);
    let long = problems("p.yaml", &format!("{}: 1\n", "z".repeat(4_000)));
    assert!(long.len() == 1 && long[0].len() < 1_500, "{long:?}");
    let longer = problems("p.yaml", &format!("? {}\n: 1\n", "z".repeat(5_000)));
    assert_eq!(longer, ["p.yaml:1:3: a key longer than 4096 bytes"]);
}

const GATE: &str = "gates:\n- name: a\n  resource: x\n  policies: [{require_approval: always}]\n";

#[test]
fn equal_names_are_refused_naming_both_places() {
    let default = "gate:\n  default_policy: {require_approval_over: 5}\n  \
                   resources: {r: [{require_approval: always}]}\n";
    let problem = |files: &[(&str, &str)]| -> Vec<String> {
        let files: Vec<_> = files.iter().map(|(name, text)| file(name, text)).collect();
        compile(&files).unwrap_err().iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        problem(&[("b.yaml", GATE), ("a.yaml", GATE)]),
        ["b.yaml:2:9: the gate `a` stands already at a.yaml:2:9"]
    );
    assert_eq!(
        problem(&[("a.yaml", default), ("b.yml", default)]),
        [
            "b.yml:2:19: the policy `default_policy` stands already at a.yaml:2:19",
            "b.yml:3:15: the resource `r` stands already at a.yaml:3:15",
        ]
    );
    assert_eq!(
        problem(&[("a.yaml", GATE), ("a.yml", "require_approval: always")]),
        ["a.yml:1:1: the id `a` is also that of a.yaml"]
    );
}

#[test]
fn file_names_make_ids_and_nothing_else_does() {
    let cases = [
        ("gates.yaml", true),
        ("crm-low.risk_2.yml", true),
        ("gates.test.yaml", false),
        ("gates.json", false),
        (".yaml", false),
        ("yaml", false),
    ];
    for (name, expected) in cases {
        assert_eq!(is_policy_file(name), expected, "{name}");
    }
    let long = format!("{}.yaml", "a".repeat(129));
    for name in ["../a.yaml", "a/b.yaml", "-a.yaml", "a b.yaml", "ä.yaml", long.as_str()] {
        let found = problems(name, "require_approval: always");
        assert!(found.len() == 1 && found[0].contains("a policy file is called"), "{found:?}");
    }
}

#[test]
fn obvious_nested_forms_are_read_alike() {
    let forms = [
        "gate: {resources: {r: {policies: [{idempotency_key: {window_seconds: 5, key: k}}]}}}",
        "gate: {resources: {r: [{idempotency_key: {window_seconds: 5, key: k}}]}}",
        "gate: {resources: {r: {idempotency_key: {window_seconds: 5, key: k}}}}",
        "gate: {resources: {r: {policies: [{idempotency_key: , window_seconds: 5, key: k}]}}}",
    ];
    let kinds: Vec<_> = forms
        .iter()
        .map(|text| compiled(&[("g.yaml", text)]).set.resources[0].rules.rules[0].kind.clone())
        .collect();
    assert!(kinds.windows(2).all(|pair| pair[0] == pair[1]), "{kinds:?}");

    let beside = "require_approval_over: 5\nauto_approve_under: 6\ncount: items\n";
    let nested = "require_approval_over: {over: 5, count: items}\n\
                  auto_approve_under: {under: 6, count: items}\n";
    let kinds = |text: &str| -> Vec<_> {
        let set = compiled(&[("p.yaml", text)]).set;
        set.named[0].rules.rules.iter().map(|rule| rule.kind.clone()).collect()
    };
    assert_eq!(kinds(beside), kinds(nested));
}

#[test]
fn the_set_knows_its_documents_and_not_the_order_they_came_in() {
    let policy = "auto_approve_under: 5\n";
    let one = compiled(&[("gates.yaml", GATE), ("crm.yaml", policy)]).set;
    let other = compiled(&[("crm.yaml", policy), ("gates.yaml", GATE)]).set;
    assert_eq!(one, other);
    let kinds: Vec<_> = one.documents.iter().map(|found| (found.id.as_str(), found.kind)).collect();
    assert_eq!(kinds, [("crm", DocumentKind::Policy), ("gates", DocumentKind::Gates)]);
    let renamed = compiled(&[("crm2.yaml", policy), ("gates.yaml", GATE)]).set;
    let edited = compiled(&[("crm.yaml", "auto_approve_under: 5 \n"), ("gates.yaml", GATE)]).set;
    assert!(one.digest != renamed.digest && one.digest != edited.digest);
}

#[test]
fn every_problem_is_reported_in_order() {
    let text = "require_approval: no\nblock_if_terms: 5\nmodee: x\n";
    let found: Vec<Problem> = compile(&[file("p.yaml", text)]).unwrap_err();
    let lines: Vec<u32> = found.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [1, 2, 3]);
    assert_eq!(found[2].nearest.as_deref(), Some("mode"));
}

proptest! {
    /// No document makes the compiler panic, and every problem has a place.
    #[test]
    fn no_document_panics(
        noise in "[a-z:\\[\\]{},&*\\- \n\"'#|>!%@0-9]{0,80}",
        lines in prop::collection::vec(prop::sample::select(vec![
            "gates:", "gate:", "- name: a", "  resource: r", "  policies:", "  - idempotency_key:",
            "require_approval_over: 5", "count: n", "environments:", "  prod: {}", "key: &a b",
            "keys: *a", "<<: *a", "  resources: {r: []}", "destinations: [1, true, null]",
        ]), 0..8),
    ) {
        for text in [noise, lines.join("\n")] {
            for line in problems("p.yaml", &text) {
                let place: Vec<&str> = line.splitn(4, ':').collect();
                prop_assert!(place[1].parse::<u32>().is_ok_and(|line| line > 0), "{}", line);
                prop_assert!(place[2].parse::<u32>().is_ok_and(|column| column > 0), "{}", line);
            }
        }
    }
}
