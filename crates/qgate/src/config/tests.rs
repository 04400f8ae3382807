//! What a configuration may say, and how it is refused.

use super::*;

const LEAST: &str = "node: {id: 1}\ndata_dir: d\nhttp: {listen: \"127.0.0.1:4000\"}\n";

#[test]
#[rustfmt::skip]
fn faults_are_named_with_their_line() {
    let cases = [
        ("",                                              "ok"),
        ("peer: {listen: \"127.0.0.1:4002\"}\n",          "ok"),
        ("peer: {listen: \"0.0.0.0:4002\", tls: {ca: a, certificate: b, key: c}}\n",
                                                          " peer.listen is 0.0.0.0:4002"),
        ("log: {format: json, filter: debug}\n",          "ok"),
        ("cluster: {profile: lan, initialise: true}\n",   "ok"),
        ("cluster: {ask_first: {2: \"b:1\"}}\n",           " cluster.ask_first is for"),
        ("cluster: {initialise: true, ask_first: {2: \"b:1\"}}\n", " cluster.ask_first needs"),
        ("peer: {listen: \"127.0.0.1:4002\"}\n\
          cluster: {initialise: true, ask_first: {2: \"b:1\"}}\n", "ok"),
        ("registration: {open: true}\n",                  "ok"),
        ("cluster: {snapshot_entries: 99}\n",             " cluster.snapshot_entries is 99;"),
        ("cluster: {log_kept_entries: 10000001}\n",       " cluster.log_kept_entries is 10000001"),
        ("executor_drain_seconds: 600\n",                 "ok"),
        ("executor_drain_seconds: 601\n",                 " executor_drain_seconds is 601"),
        ("disk_reserve_bytes: a lot\n",                   "4:21"),
        ("colour: red\n",                                 "4:1: unknown field `colour`"),
        ("log:\n  format: json\n  filtre: x\n",           "6:3: unknown field `filtre`"),
        ("log: {format: xml}\n",                          "4:15: unknown variant `xml`"),
        ("cluster: {profile: moon}\n",                    "4:20: unknown variant `moon`"),
        ("peer: {listen: nowhere}\n",                     "4:16: invalid socket address"),
        ("log: [\n",                                      "line"),
        ("metrics: {listen: \"127.0.0.1:4000\"}\n",       " metrics.listen and http.listen"),
        ("metrics: {listen: \"127.0.0.1:4003\"}\n",       "ok"),
        ("metrics: {listen: \"10.0.0.1:4003\"}\n",        " metrics.listen is 10.0.0.1:4003"),
        ("metrics: {listen: \"10.0.0.1:4003\", plaintext: true}\n", "ok"),
    ];
    for (more, expected) in cases {
        let result = Config::parse(&format!("{LEAST}{more}"));
        let shown = result.map_or_else(|what| what, |_| "ok".to_owned());
        let found = shown.starts_with(expected) || (expected == "line" && shown.contains(':'));
        assert!(found, "{more:?}: {shown}");
    }
}

#[test]
#[rustfmt::skip]
fn other_machines_are_served_only_when_asked() {
    let cases = [
        // address, plaintext, open registration, refused with
        ("127.0.0.1:4000", false, true,  None),
        ("[::1]:4000",     false, true,  None),
        ("0.0.0.0:4000",   false, false, Some("plain text")),
        ("10.0.0.1:4000",  false, false, Some("plain text")),
        ("10.0.0.1:4000",  true,  false, None),
        ("10.0.0.1:4000",  true,  true,  Some("registration.open")),
    ];
    for (address, plaintext, open, refused) in cases {
        let text = format!(
            "node: {{id: 1}}\ndata_dir: d\n\
             http: {{listen: \"{address}\", plaintext: {plaintext}}}\n\
             registration: {{open: {open}}}\n"
        );
        match (Config::parse(&text), refused) {
            (Ok(_), None) => {}
            (Err(what), Some(word)) => assert!(what.contains(word), "{what}"),
            (other, _) => panic!("{address} {plaintext} {open}: {other:?}"),
        }
    }
}

#[test]
fn node_ids_fit_into_ids() {
    for (id, good) in [(0, false), (1, true), (NODE_ID_MAX, true), (NODE_ID_MAX + 1, false)] {
        let text = LEAST.replace("id: 1", &format!("id: {id}"));
        assert_eq!(Config::parse(&text).is_ok(), good, "{id}");
    }
}

#[test]
fn paths_are_relative_to_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("node.yaml");
    std::fs::write(&file, format!("{LEAST}admin_key_file: k/admin.key\n")).unwrap();
    let config = Config::load(&file).unwrap();
    assert_eq!(config.data_dir, dir.path().join("d"));
    assert_eq!(config.data_key_file, dir.path().join("data.key"));
    assert_eq!(config.admin_key_file, Some(dir.path().join("k/admin.key")));
}
