mod common;
#[test]
fn dump() {
    let bomb = format!("a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\n");
    let many = format!("block_if_terms:\n{}", "- a\n".repeat(10_500));
    let deep = format!("a: {}{}", "[".repeat(40), "]".repeat(40));
    let deep2 = (0..60).map(|i| format!("{}a:\n", " ".repeat(i))).collect::<String>();
    let long = "# x\n".repeat(2_600_000);
    let flat_deep = "[".repeat(300_000);
    let cases: Vec<(&str,String)> = vec![
        ("unknown", "gates:\n  - name: a\n    triger: write\n    resource: x\n    policies: []\n".into()),
        ("unknown rule", "gates:\n  - name: a\n    resource: x\n    policies:\n      - require_aproval_over: 5\n".into()),
        ("bare unknown", "gates:\n  - name: a\n    resource: x\n    policies:\n      - require_approval_if_template_eror\n".into()),
        ("type", "require_approval_over: many\n".into()),
        ("neg", "require_approval_over: -1\n".into()),
        ("float", "require_approval_over: 1.5\n".into()),
        ("indent", "gates:\n  - name: a\n   trigger: b\n".into()),
        ("indent2", "gates:\n- name: a\n  policies:\n  - x: 1\n   y: 2\n".into()),
        ("tab", "gates:\n\t- name: a\n".into()),
        ("regex", "field_checks:\n- path: a\n  pattern: '(x'\n".into()),
        ("dupkey", "require_approval_over: 5\nrequire_approval_over: 6\n".into()),
        ("bomb", bomb), ("many", many), ("deep", deep), ("deep2", deep2), ("long", long), ("flatdeep", flat_deep),
        ("nul", "require_approval_over: 5\nb: \0".into()),
        ("empty", "".into()), ("comment", "# only\n".into()), ("scalar", "hello\n".into()), ("list", "- a\n".into()),
        ("multi", "require_approval_over: 5\n---\nrequire_approval_over: 6\n".into()),
        ("twoline", "gate:\n  default_policy: require_approval_over: 50\n".into()),
        ("always", "require_approval: never\n".into()),
        ("groups", "require_approvals: {all_of: [{group: a, count: 1}]}\n".into()),
        ("later", "budgets: {usd: 5}\nexpires_after: 5m\non_no_response: auto_approve_if_low_risk\nblock_if_pii: true\n".into()),
        ("dupgates", "gates:\n- {name: a, resource: x, policies: [{require_approval: always}]}\n- {name: a, resource: y, policies: [{require_approval: always}]}\n".into()),
        ("undefined alias", "a: *x\n".into()),
        ("unclosed", "gates: [\n".into()),
        ("tag", "require_approval_over: !foo 5\n".into()),
        ("over env", "environments: {prod: {destinations: [a]}}\n".into()),
        ("idem", "idempotency_key: {window_seconds: 0, key: a}\n".into()),
        ("idem2", "idempotency_key: {window_second: 5, key: a}\n".into()),
        ("idem3", "idempotency_key:\nwindow_seconds: 5\nkey: a\n".into()),
        ("exp", "field_checks: [{path: a, max: 1e3, min: 0x10}]\n".into()),
        ("inf", "field_checks: [{path: a, max: .inf}]\n".into()),
        ("big", "require_approval_over: 99999999999999999999999\n".into()),
        ("merge", "a: &x {require_approval_over: 5}\n<<: *x\n".into()),
        ("count", "require_approval_over: 5\ncount: items\n".into()),
        ("lone count", "count: items\n".into()),
    ];
    for (n, c) in cases {
        let t = std::time::Instant::now();
        println!("== {n}: {:?} {:?}", common::problems("p.yaml", &c), t.elapsed());
    }
    println!("{:?}", policy::compile(&[policy::SourceFile{name:"p.yaml".into(), bytes: b"a: \xff".to_vec()}]));
    println!("{:?}", common::compiled(&[("p.yaml", "idempotency_key:\nwindow_seconds: 5\nkey: a\nrequire_approval_over: 5\ncount: it.x\nfield_checks: [{path: a, max: 1e3, min: 00.10, required: true}]\n")]).set.named);
}
