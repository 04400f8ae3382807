//! The page about policies: what it shows loads, what it names is there, and all there is it names.

mod common;

use policy::{SourceFile, compile};

const PAGE: &str = include_str!("../../../docs/policies.md");

/// Line of each example in the page, and the example.
fn examples() -> Vec<(usize, String)> {
    let (mut found, mut open): (Vec<(usize, String)>, bool) = (Vec::new(), false);
    for (at, line) in PAGE.lines().enumerate() {
        match line {
            "```yaml" => {
                open = true;
                found.push((at + 2, String::new()));
            }
            "```" => open = false,
            line if open => {
                let (_, text) = found.last_mut().expect("an example was opened");
                text.push_str(line);
                text.push('\n');
            }
            _ => {}
        }
    }
    found
}

#[test]
fn every_example_of_the_page_loads_without_a_warning() {
    let examples = examples();
    assert!(examples.len() >= 12, "{}", examples.len());
    for (line, text) in examples {
        let file = SourceFile { name: "example.yaml".into(), bytes: text.into_bytes() };
        match compile(&[file]) {
            Ok(compiled) => assert_eq!(compiled.warnings, [], "docs/policies.md:{line}"),
            Err(problems) => panic!("docs/policies.md:{line}: {problems:?}"),
        }
    }
}

/// What `make run` loads says what the user's documents say, and names no other product.
#[test]
fn the_example_policies_are_those_of_the_incidents() {
    let read = |folder: &str, name: &str| -> String {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../");
        std::fs::read_to_string(format!("{root}{folder}/{name}")).expect("a policy")
    };
    let set = |folder: &str| {
        let files = ["gates.yaml", "gate.yaml"].map(|name| (name, read(folder, name)));
        let files: Vec<(&str, &str)> =
            files.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let set = common::compiled(&files).set;
        (set.gates, set.resources, set.default_policy)
    };
    assert_eq!(set("examples/policies"), set("tests/fixtures/incident"));
    let gate = read("examples/policies", "gate.yaml");
    assert!(gate.contains("127.0.0.1") && gate.contains("QGATE_API_KEY"), "{gate}");
}

/// The list that an unknown key is answered with is the list of all keys.
#[test]
fn every_key_there_is_stands_in_the_page() {
    let told = common::problems("p.yaml", "zzzzzzzzzzzzzzzzzzzz: 1\n").remove(0);
    let keys: Vec<&str> = told.split('`').skip(3).step_by(2).collect();
    assert!(keys.len() > 25, "{told}");
    for key in keys {
        let named = [format!("`{key}`"), format!("{key}:"), format!("### {key}")];
        assert!(named.iter().any(|name| PAGE.contains(name.as_str())), "{key}");
    }
}

/// What the page says that patterns cover is covered, and what it says they do not is not.
#[test]
fn the_default_patterns_are_as_the_page_says() {
    let policy = "require_approval_if_template_error\n";
    let gate = format!("gates: [{{name: g, resource: r, policies: [{}]}}]", policy.trim());
    let engine = common::engine(&[("g.yaml", &gate)]);
    let held = |text: &str| {
        let payload = serde_json::json!({ "body": text }).to_string();
        common::Ask::to("r").json(&payload).judged(&engine).outcome == types::Outcome::Hold
    };
    for text in ["{{x}}", "{%x%}", "${x}", "<%x%>", "[[x]]", "%NAME%", "null", "dear undefined"] {
        assert!(held(text), "{text}");
    }
    for text in ["{x}", "$x", ":x", "#x#", "{{x", "[[1,2]]", "<x>", "%name%", "*|NAME|*", "None"] {
        assert!(!held(text), "{text}");
    }
}
