//! What lies in `deploy/` fits the program: configurations are read by the program itself, alerts
//! and the dashboard name metrics and labels that there are, whatever stops a node waits for as
//! long as that may take, and systemd hears when a node serves and when it stops.
//!
//! `scripts/check-alerts` has promtool check the rest: what rules say, and when they fire.
#![cfg(test)]

#[path = "support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Stdio;

use meters::{Kind, Metric};
use rustix::process::Signal;
use serde_json::Value;
use support::ports::base_port;
use support::{DEADLINE, Process, log_file, qgate};
use types::limits::{DRAIN_MS_MAX, EXECUTOR_DRAIN_MS_DEFAULT};

/// Labels that Prometheus adds, or the example of its configuration.
const ADDED_LABELS: [&str; 6] = ["cluster", "instance", "job", "le", "node", "region"];
/// What notifications may take, when a node stops, and what else it does then.
const REST_SECONDS: u64 = 20;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn yaml(name: &str) -> Value {
    serde_yaml::from_str(&read(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().unwrap_or_else(|| panic!("no list `{name}` in {value}"))
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("no text `{name}` in {value}"))
}

/// Every configuration that is handed out can be used, says the program that has to.
#[test]
fn configurations_can_be_used() {
    let mut names = vec!["deploy/node.example.yaml".to_owned()];
    names.extend((1..=3).map(|node| format!("deploy/compose/node-{node}.yaml")));
    for name in &names {
        let out = qgate().args(["serve", "--check", "--config"]).arg(path(name)).output().unwrap();
        assert!(out.status.success(), "{name}: {}", String::from_utf8_lossy(&out.stderr));
    }
    // What is commented out in the example is read too.
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("node.yaml");
    let check = |text: String| {
        fs::write(&file, text).unwrap();
        let out = qgate().args(["serve", "--check", "--config"]).arg(&file).output().unwrap();
        (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    let example = read("deploy/node.example.yaml");
    let joins = example.replace("  initialise: true\n", "").replace("  # join:\n", "  join:\n");
    let joins = joins.replace("  #   ask:", "    ask:").replace("  #   token_", "    token_");
    assert!(joins.contains("\n  join:\n    ask:") && joins.contains("\n    token_file:"));
    assert_eq!(check(joins), (Some(0), String::new()), "as nodes 2 and 3 have it");
    let (code, said) = check(example.replace("profile: regional", "profile: nearby"));
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("nearby"), "{said}");
    let left: Vec<_> = fs::read_dir(home.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "a check makes nothing: {left:?}");
}

/// A metric or a label that was renamed makes no alert fall silent and no panel go empty.
#[test]
fn alerts_and_panels_name_what_there_is() {
    let mut queries: Vec<(String, String)> = Vec::new();
    for rule in rules() {
        queries.push((text(&rule, "alert").to_owned(), text(&rule, "expr").to_owned()));
    }
    let dashboard = dashboard();
    for panel in list(&dashboard, "panels") {
        for target in panel["targets"].as_array().map_or(&[][..], Vec::as_slice) {
            queries.push((text(panel, "title").to_owned(), text(target, "expr").to_owned()));
        }
    }
    for annotation in list(&dashboard["annotations"], "list") {
        if let Some(query) = annotation["expr"].as_str() {
            queries.push((text(annotation, "name").to_owned(), query.to_owned()));
        }
    }
    for variable in list(&dashboard["templating"], "list") {
        if let Some(query) = variable["definition"].as_str() {
            queries.push((text(variable, "name").to_owned(), query.to_owned()));
        }
    }
    let mut faults = Vec::new();
    for (place, query) in &queries {
        faults.extend(unknown_names(query).into_iter().map(|fault| format!("{place}: {fault}")));
    }
    for (series, _) in tested_series() {
        faults.extend(unknown_names(&series).into_iter().map(|fault| format!("tests: {fault}")));
    }
    assert!(queries.len() > 80, "{}", queries.len());
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
#[rustfmt::skip]
fn names_that_are_not_there_are_found() {
    let cases = [
        ("gate_term",                                              0),
        ("gate_terms",                                             1),
        ("gate_term_total",                                        1),
        ("rate(gate_wal_fsync_seconds_bucket[5m])",                0),
        ("rate(gate_wal_fsync_seconds[5m])",                       1),
        ("gate_wal_stall_seconds_count",                           1),
        (r#"gate_intents{phase="held"} > on (cluster) gate_term"#, 0),
        (r#"gate_intents{phases="held"}"#,                         1),
        (r#"gate_intents{phase=~"held|peer=x", peer!="2"}"#,       1),
        ("max by (cluster, peer) (gate_peer_replication_lag)",     0),
        ("max by (cluster, peers) (gate_peer_replication_lag)",    1),
        ("sum by (peer) (gate_term)",                              1),
    ];
    for (query, faults) in cases {
        assert_eq!(unknown_names(query).len(), faults, "{query}: {:?}", unknown_names(query));
    }
}

/// Each alert says what it is about, has a test that sees it fire, and its row of what to do.
#[test]
fn every_alert_has_a_test_and_a_row() {
    let rules = rules();
    let names: Vec<&str> = rules.iter().map(|rule| text(rule, "alert")).collect();
    for rule in &rules {
        let severity = text(&rule["labels"], "severity");
        assert!(["critical", "warning"].contains(&severity), "{rule}");
        for annotation in ["summary", "description"] {
            assert!(!text(&rule["annotations"], annotation).is_empty(), "{rule}");
        }
    }
    let tests = yaml("deploy/prometheus/alerts.test.yml");
    let tested: Vec<&str> =
        list(&tests, "tests").iter().skip(1).map(|test| text(test, "name")).collect();
    assert_eq!(tested, names, "one test for each alert, in their order");
    for test in list(&tests, "tests").iter().skip(1) {
        let expected = test["promql_expr_test"].to_string();
        let fires = expected.contains(&format!("alertname=\\\"{}\\\"", text(test, "name")));
        assert!(fires, "{}", text(test, "name"));
    }
    let page = read("docs/deployment.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `Gate"));
    let listed: Vec<String> =
        rows.filter_map(|row| Some(format!("Gate{}", row.split_once('`')?.0))).collect();
    assert_eq!(listed, names, "docs/deployment.md has one row for each alert, in their order");
}

#[test]
fn the_dashboard_has_each_panel_once_and_says_what_it_shows() {
    let dashboard = dashboard();
    let panels = list(&dashboard, "panels");
    let ids: BTreeSet<u64> = panels.iter().filter_map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len(), "ids are unique");
    let rows: Vec<&str> = panels
        .iter()
        .filter(|panel| panel["type"] == "row")
        .map(|row| text(row, "title"))
        .collect();
    let expected = [
        "Requests and decisions",
        "Latency",
        "Consensus",
        "Log and disk",
        "Executor and notifier",
        "Approvals",
    ];
    assert_eq!(rows, expected);
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        assert!(!text(panel, "description").is_empty(), "{panel}");
        assert!(!list(panel, "targets").is_empty(), "{panel}");
        for target in list(panel, "targets") {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{panel}");
        }
    }
}

/// What kills a node waits until it has stopped in order.
#[test]
fn whatever_stops_a_node_waits_for_it() {
    let longest = (DRAIN_MS_MAX + EXECUTOR_DRAIN_MS_DEFAULT) / 1_000 + REST_SECONDS;
    let unit = read("deploy/systemd/quorum-gate.service");
    let waits = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).unwrap();
    assert!(waits.parse::<u64>().unwrap() >= longest, "systemd waits {waits} s, not {longest}");
    let compose = yaml("deploy/compose.yaml");
    let waits = text(&compose["x-node"], "stop_grace_period").trim_end_matches('s');
    assert!(waits.parse::<u64>().unwrap() >= longest, "compose waits {waits} s, not {longest}");
    for node in 1..=3 {
        let name = format!("deploy/compose/node-{node}.yaml");
        let config = yaml(&name);
        assert!(config["executor_drain_seconds"].is_null(), "{name}: as long as the default");
        assert_eq!(config["node"]["id"], node, "{name}");
        let mounted = compose["services"][format!("node-{node}")]["volumes"].to_string();
        assert!(mounted.contains(&format!("/compose/node-{node}.yaml:")), "{mounted}");
    }
    let example = yaml("deploy/node.example.yaml");
    assert_eq!(example["executor_drain_seconds"], EXECUTOR_DRAIN_MS_DEFAULT / 1_000);
}

/// systemd is told that the node serves once it does, and `qgate health` says the same.
#[test]
fn a_service_manager_hears_of_the_start_and_of_the_stop() {
    let home = tempfile::tempdir().unwrap();
    let port = base_port();
    let http = format!("http://127.0.0.1:{port}");
    let health = |words: &[&str]| {
        let mut command = qgate();
        command.env("QGATE_ENDPOINT", &http).arg("health").args(words);
        command.output().unwrap().status.code()
    };
    assert_eq!(health(&[]), Some(3), "nobody is there");
    let config = home.path().join("node.yaml");
    let lines = format!(
        "node: {{id: 1}}\ndata_dir: data\nhttp: {{listen: \"127.0.0.1:{port}\"}}\n\
         cluster: {{initialise: true}}\n"
    );
    fs::write(&config, lines).unwrap();
    let socket = home.path().join("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(DEADLINE)).unwrap();
    let heard = || {
        let mut word = [0; 64];
        let length = manager.recv(&mut word).expect("the manager is told");
        String::from_utf8_lossy(&word[..length]).trim().to_owned()
    };
    let mut command = qgate();
    command.arg("serve").arg("--config").arg(&config).env("NOTIFY_SOCKET", &socket);
    command.stdout(Stdio::null()).stderr(log_file(home.path(), "serve.log"));
    let mut node = Process::start(&mut command);
    assert_eq!(heard(), "READY=1");
    assert_eq!(health(&[]), Some(0), "it lives");
    assert_eq!(health(&["--ready", "--wait", "60s"]), Some(0), "it is ready");
    let status = node.stop(Signal::TERM);
    assert_eq!(heard(), "STOPPING=1");
    assert!(status.success(), "{status}");
    assert_eq!(health(&["--ready"]), Some(3), "nobody is there any more");
}

fn rules() -> Vec<Value> {
    let alerts = yaml("deploy/prometheus/alerts.yml");
    let groups = list(&alerts, "groups").iter();
    groups.flat_map(|group| list(group, "rules").to_vec()).collect()
}

fn dashboard() -> Value {
    serde_json::from_str(&read("deploy/grafana/quorum-gate.json")).expect("JSON")
}

/// The series that tests of alerts make up, and their values.
fn tested_series() -> Vec<(String, String)> {
    let tests = yaml("deploy/prometheus/alerts.test.yml");
    let series = list(&tests, "tests").iter().flat_map(|test| list(test, "input_series"));
    series.map(|made| (text(made, "series").to_owned(), made["values"].to_string())).collect()
}

/// Metrics in a query that the table has not, and labels that none of the query's metrics has.
fn unknown_names(query: &str) -> Vec<String> {
    let table = table();
    let (mut faults, mut labels) = (Vec::new(), BTreeSet::from(ADDED_LABELS));
    let words = words(query);
    for word in words.iter().filter(|word| word.starts_with("gate_")) {
        match table.get(word.as_str()) {
            Some(metric) => labels.extend(metric.labels),
            None => faults.push(format!("no metric is called {word}")),
        }
    }
    for word in label_names(query) {
        if !labels.contains(word.as_str()) {
            faults.push(format!("no metric of the query has a label {word}"));
        }
    }
    faults
}

/// Series by the names under which Prometheus has them.
fn table() -> BTreeMap<String, &'static Metric> {
    let mut table = BTreeMap::new();
    for metric in meters::ALL {
        let suffixes: &[&str] = match metric.kind {
            Kind::Histogram => &["_bucket", "_sum", "_count"],
            Kind::Counter | Kind::Gauge => &[""],
        };
        table.extend(suffixes.iter().map(|suffix| (format!("{}{suffix}", metric.name), metric)));
    }
    table
}

fn is_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

/// The words of a query outside of quotes.
fn words(query: &str) -> Vec<String> {
    let unquoted: Vec<&str> = query.split('"').step_by(2).collect();
    let parts = unquoted.iter().flat_map(|part| part.split(|c| !is_name(c)));
    parts.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// What stands before a comparison within braces, and between the brackets of `by` and `on`.
fn label_names(query: &str) -> BTreeSet<String> {
    let unquoted: String = query.split('"').step_by(2).collect::<Vec<_>>().join("\"\"");
    let mut found = BTreeSet::new();
    let within = |open: char, close: char, from: &str| -> Option<String> {
        let rest = from.trim_start().strip_prefix(open)?;
        rest.split_once(close).map(|(inner, _)| inner.to_owned())
    };
    for (at, _) in unquoted.match_indices('{') {
        let inner = within('{', '}', &unquoted[at..]).expect("braces are closed");
        for matcher in inner.split(',').filter(|matcher| !matcher.trim().is_empty()) {
            found.insert(matcher.trim().chars().take_while(|c| is_name(*c)).collect());
        }
    }
    for word in ["by", "on"] {
        for (at, _) in unquoted.match_indices(word) {
            let stands_alone = !unquoted[..at].ends_with(is_name);
            let inner = within('(', ')', &unquoted[at + word.len()..]);
            let Some(inner) = inner.filter(|_| stands_alone) else { continue };
            found.extend(inner.split(',').map(|label| label.trim().to_owned()));
        }
    }
    found
}
