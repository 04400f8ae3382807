//! Destination documents: what they become, what is refused, and where the finger points.

use policy::documents::destination;
use types::{Connector, Destination, Digest, ExecuteWhen, HttpTarget, StatusRange};

/// The example of the documentation, word for word.
const EXAMPLE: &str = include_str!("../../../tests/fixtures/settings/phone.yaml");
const LEAST: &str = "kind: http\nrequest: {url: 'https://a.example/x'}\n";

fn range(first: u16, last: u16) -> StatusRange {
    StatusRange { first, last }
}

fn read(text: &str) -> Destination {
    destination("a", text.as_bytes()).unwrap_or_else(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        panic!("{text}\n{}", lines.join("\n"))
    })
}

fn target(text: &str) -> HttpTarget {
    match read(text).connector {
        Connector::Http(target) => *target,
        Connector::Worker => panic!("{text}"),
    }
}

fn problems(name: &str, text: &str) -> Vec<String> {
    match destination(name, text.as_bytes()) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn the_example_is_read_word_for_word() {
    let found = destination("leads.outbound_call", EXAMPLE.as_bytes()).expect("a good document");
    let expected = Destination {
        name: "leads.outbound_call".into(),
        environment: None,
        connector: Connector::Http(Box::new(HttpTarget {
            method: "POST".into(),
            url: "https://phone.example/calls".into(),
            headers: vec![("Authorization".into(), "Bearer ${secret:phone_token}".into())],
            body: Some("{{ payload }}".into()),
            timeout_ms: 10_000,
            honours_idempotency_key: true,
            success: vec![range(200, 299)],
            failed_without_effect: vec![],
        })),
        execute: ExecuteWhen::OnApproval,
        concurrency: 16,
        digest: Digest::of(EXAMPLE.as_bytes()),
        source: EXAMPLE.as_bytes().to_vec(),
    };
    assert_eq!(found, expected);
}

#[test]
fn what_is_left_out_has_its_default() {
    let least = target(LEAST);
    assert_eq!((least.method.as_str(), least.timeout_ms), ("POST", 10_000));
    assert_eq!(least.body.as_deref(), Some("{{ payload }}"));
    assert!(!least.honours_idempotency_key);
    assert_eq!((least.success, least.failed_without_effect), (vec![range(200, 299)], vec![]));
    let least = read(LEAST);
    assert_eq!((least.execute, least.concurrency), (ExecuteWhen::OnApproval, 16));
    assert_eq!(least.environment, None);

    let worker = read("kind: worker\nenvironment: prod-eu.1\n");
    assert_eq!(worker.connector, Connector::Worker);
    assert_eq!(worker.environment.as_deref(), Some("prod-eu.1"));
    assert!(!worker.runs_on_approval());
}

#[test]
fn every_key_has_its_say() {
    let body = |method: &str, body: &str| {
        target(&format!("kind: http\nrequest: {{url: 'https://a/x', method: {method}{body}}}\n"))
            .body
    };
    let cases = [
        ("put", "", Some("{{ payload }}")),
        ("PATCH", "", Some("{{ payload }}")),
        ("get", "", None),
        ("Delete", "", None),
        ("HEAD", "", None),
        ("PURGE", "", None),
        ("post", ", body: null", None),
        ("post", ", body: ", None),
        ("get", ", body: '{{ payload.id }}'", Some("{{ payload.id }}")),
        ("post", ", body: none", Some("none")),
        ("post", ", body: 5", Some("5")),
    ];
    for (method, written, expected) in cases {
        assert_eq!(body(method, written).as_deref(), expected, "{method}{written}");
    }
    for (written, expected) in [("1ms", 1), ("10s", 10_000), ("2m", 120_000), ("120s", 120_000)] {
        let text = format!("kind: http\nrequest: {{url: 'https://a/x', timeout: {written}}}\n");
        assert_eq!(target(&text).timeout_ms, expected, "{written}");
    }
    let all = target(
        "kind: http\nexecute: on_request\nidempotency: none\nconcurrency: 256\n\
         success: [200, '201', 300 - 304]\nfailed_without_effect: [400-499, 599]\n\
         request:\n  url: http://a:80/{{ payload.id }}?k=${secret:k.1_-}\n  method: post\n  \
         headers:\n    X-Version: 2\n    x-one: ${HOME} {{ metadata.a }}\n",
    );
    assert_eq!(all.success, [range(200, 200), range(201, 201), range(300, 304)]);
    assert_eq!(all.failed_without_effect, [range(400, 499), range(599, 599)]);
    let headers: Vec<(&str, &str)> =
        all.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(headers, [("X-Version", "2"), ("x-one", "${HOME} {{ metadata.a }}")]);
    assert_eq!(all.url, "http://a:80/{{ payload.id }}?k=${secret:k.1_-}");
}

#[test]
#[rustfmt::skip]
fn a_problem_names_line_column_and_the_nearest_word() {
    let cases = [
        ("kind: htpp\n", "1:7: `kind` is http or worker (did you mean `http`?)"),
        ("kind: rest\n", "1:7: kind `rest` is not built in yet; use http or worker"),
        ("kind: postgres\n", "1:7: kind `postgres` is not built in yet; use http or worker"),
        ("kind: smtp\n", "1:7: kind `smtp` is not built in yet; use http or worker"),
        ("kind: [http]\n", "1:7: expected text, found a list"),
        ("environment: prod\n", "1:1: `kind` is missing"),
        ("kind: http\n", "1:1: `request` is missing"),
        ("kind: http\nrequst: {}\n",
         "2:1: unknown key `requst` (did you mean `request`?)"),
        ("kind: http\nrequest: {urll: 'https://a/'}\n",
         "2:11: unknown key `urll` (did you mean `url`?)"),
        ("kind: http\nrequest: {method: GET}\n", "2:10: `url` is missing"),
        ("kind: http\nrequest: https://a/\n",
         "2:10: expected a mapping with `method`, `url`, `headers`, `body`, `timeout`, found text"),
        ("kind: http\nexecute: on_aproval\nrequest: {url: 'https://a/'}\n",
         "2:10: `execute` is on_approval or on_request (did you mean `on_approval`?)"),
        ("kind: http\nidempotency: true\nrequest: {url: 'https://a/'}\n",
         "2:14: expected text, found true or false"),
        ("kind: http\nidempotency: headers\nrequest: {url: 'https://a/'}\n",
         "2:14: `idempotency` is header or none (did you mean `header`?)"),
        ("kind: http\nconcurrency: 0\nrequest: {url: 'https://a/'}\n",
         "2:14: expected a whole number from 1 up to 256, found 0"),
        ("kind: http\nconcurrency: 257\nrequest: {url: 'https://a/'}\n",
         "2:14: expected a whole number from 0 up to 256, found 257"),
        ("kind: http\nenvironment: the live one\nrequest: {url: 'https://a/'}\n",
         "2:14: an environment is one word of letters, digits, `.`, `_` and `-`, at most 64"),
        ("kind: worker\nconcurrency: 3\n", "2:1: a worker's destination has no `concurrency`"),
        ("kind: worker\nrequest: {}\n", "2:1: a worker's destination has no `request`"),
        ("kind: http\nrequest: {url: 'ftp://a/'}\n",
         "2:16: a url begins with `https://` or `http://`, written out"),
        ("kind: http\nrequest: {url: 'https://{{ payload.host }}/'}\n",
         "2:16: host and port stand in the url as they are, without template or secret"),
        ("kind: http\nrequest: {url: 'https://a/${secret:}'}\n",
         "2:16: a secret is referred to as `${secret:NAME}`, NAME of letters, digits, `.`, `_` \
          and `-`, at most 64"),
        ("kind: http\nrequest: {url: 'https://a/', timeout: 10}\n",
         "2:39: a time is a whole number with its unit: `500ms`, `10s` or `2m`"),
        ("kind: http\nrequest: {url: 'https://a/', timeout: 1.5s}\n",
         "2:39: a time is a whole number with its unit: `500ms`, `10s` or `2m`"),
        ("kind: http\nrequest: {url: 'https://a/', timeout: 0ms}\n",
         "2:39: a time-out is from 1ms up to 120s, found 0ms"),
        ("kind: http\nrequest: {url: 'https://a/', timeout: 121s}\n",
         "2:39: a time-out is from 1ms up to 120s, found 121s"),
        ("kind: http\nrequest: {url: 'https://a/', timeout: 99999999999m}\n",
         "2:39: a time-out is from 1ms up to 120s, found 99999999999m"),
        ("kind: http\nrequest: {url: 'https://a/', method: 'G ET'}\n",
         "2:38: a method is one word such as `POST`"),
        ("kind: http\nrequest: {url: 'https://a/', body: ''}\n",
         "2:36: expected text, found empty text; `null` sends no body"),
        ("kind: http\nrequest: {url: 'https://a/', body: {a: b}}\n",
         "2:36: expected a template as text, found a mapping"),
        ("kind: http\nrequest: {url: 'https://a/', body: '${ secret:a}'}\n",
         "2:36: a secret is referred to as `${secret:NAME}`, NAME of letters, digits, `.`, `_` \
          and `-`, at most 64"),
        ("kind: http\nrequest:\n  url: https://a/\n  headers:\n    A: b\n    a: c\n",
         "6:5: the header `a` stands here twice"),
        ("kind: http\nrequest:\n  url: https://a/\n  headers:\n    A B: c\n",
         "5:5: a header's name has letters, digits and `-`, no blanks"),
        ("kind: http\nrequest:\n  url: https://a/\n  headers:\n    A: \"b\\r\\nC: d\"\n",
         "5:8: a header's value is one line of printable ASCII"),
        ("kind: http\nrequest:\n  url: https://a/\n  headers: [A]\n",
         "4:12: expected a mapping of headers, found a list"),
        ("kind: http\nrequest: {url: 'https://a/'}\nsuccess: 200\n",
         "3:10: expected a list of statuses, found a number"),
        ("kind: http\nrequest: {url: 'https://a/'}\nsuccess: []\n",
         "3:10: no status would mean done; leave `success` out for 200-299"),
        ("kind: http\nrequest: {url: 'https://a/'}\nsuccess: [200, 99]\n",
         "3:16: expected a status from 100 to 599 or a range such as 200-299, found 99"),
        ("kind: http\nrequest: {url: 'https://a/'}\nsuccess: [299-200]\n",
         "3:11: expected a status from 100 to 599 or a range such as 200-299, found 299-200"),
        ("kind: http\nrequest: {url: 'https://a/'}\nsuccess: [2xx]\n",
         "3:11: expected a status from 100 to 599 or a range such as 200-299, found 2xx"),
        ("kind: http\nrequest: {url: 'https://a/'}\nfailed_without_effect: [600]\n",
         "3:25: expected a status from 100 to 599 or a range such as 200-299, found 600"),
        ("kind: http\nrequest: {url: 'https://a/'}\nfailed_without_effect: [204]\n",
         "3:25: 204 cannot mean both: without `success` 200-299 mean done"),
        ("kind: http\nrequest: {url: 'https://a/'}\nsuccess: [200, 404]\n\
          failed_without_effect: [409, 400-404]\n",
         "4:30: 400-404 cannot mean both: 404 means done at 3:16"),
        ("kind: http\n  request: {}\n",
         "2:10: a `:` where no key can stand: check the indentation, or put the text in quotes"),
        ("kind: http\nkind: http\n", "2:1: the key `kind` stands here twice"),
        ("", "1:1: the document is empty"),
        ("http\n", "1:1: expected a mapping at the top, found text"),
        ("kind: \0\n", "1:7: NUL in the document"),
    ];
    for (text, expected) in cases {
        assert_eq!(problems("a", text), [format!("a.yaml:{expected}")], "{text:?}");
    }
}

#[test]
fn headers_of_the_gate_and_of_the_protocol_are_refused() {
    let refused = [
        "Gate-Intent",
        "gate-anything",
        "Idempotency-Key",
        "HOST",
        "content-length",
        "Transfer-Encoding",
        "Connection",
        "Upgrade",
        "TE",
        "Trailer",
    ];
    for name in refused {
        let text = format!("kind: http\nrequest: {{url: 'https://a/', headers: {{{name}: x}}}}\n");
        let expected = format!("a.yaml:2:40: `{name}` is set by the gate itself; leave it out");
        assert_eq!(problems("a", &text), [expected]);
    }
}

#[test]
fn every_problem_is_reported_in_order() {
    let text = "kind: http\nsuccess: [x]\nconcurrency: many\nrequest:\n  method: ' '\n  url: a\n  \
                timeout: never\n  headers: {Host: a}\nfailed_without_effect: [200]\n";
    let found = destination("a", text.as_bytes()).expect_err("it is full of problems");
    let lines: Vec<u32> = found.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [2, 3, 5, 6, 7, 8], "statuses are compared only where both can be read");
}

#[test]
fn names_are_those_of_resources() {
    let long = "ü".repeat(256);
    for name in ["crm.contacts", "*", "crm.*", "a b", "a/b", long.as_str()] {
        assert_eq!(problems(name, LEAST), [""; 0], "{name}");
    }
    let longer = "ü".repeat(257);
    let cases = [
        ("", "has 1 to 256 characters, found none"),
        (longer.as_str(), "has 1 to 256 characters, found more"),
        ("a\n", "has no control characters"),
        (" a", "neither begins nor ends with a blank"),
        ("a\u{a0}", "neither begins nor ends with a blank"),
    ];
    for (name, expected) in cases {
        let expected = format!("destination.yaml:1:1: a resource's name {expected}");
        assert_eq!(problems(name, LEAST), [expected]);
    }
}

#[test]
fn long_deep_and_exploding_documents_are_refused_where_the_limit_is_crossed() {
    let row = |name: char, of: char| {
        format!("{name}: &{name} [{}]\n", vec![format!("*{of}"); 10].join(","))
    };
    let bomb = ['b', 'c', 'd', 'e'].iter().zip(['a', 'b', 'c', 'd']);
    let bomb: String = bomb.map(|(name, of)| row(*name, of)).collect();
    let wide = format!("a: &a {}\nb: [{}]\n", "x".repeat(60_000), vec!["*a"; 1_300].join(","));
    let cases = [
        (format!("a: &a [x,x,x,x,x,x,x,x,x,x]\n{bomb}"), "4:", "more than 10000 nodes"),
        (wide, "2:", "the document expands beyond the limits"),
        (format!("a: {}{}", "[".repeat(40), "]".repeat(40)), "1:35:", "nested deeper than 32"),
        ("# x\n".repeat(2_600_000), "16385:1:", "longer than 65536 bytes"),
    ];
    for (text, place, message) in cases {
        let found = problems("a", &text);
        let expected = found[0].starts_with(&format!("a.yaml:{place}"));
        assert!(expected && found[0].contains(message), "{found:?}");
        assert_eq!(found.len(), 1);
    }
}

/// What a connector finds is shown at the field that it names.
#[test]
fn a_problem_of_a_field_stands_at_the_field() {
    let document = "kind: http\n\nrequest:\n  url: https://a/\n  headers:\n    X.Y-z: \"{{\"\n  \
                    body: \"{{ payload \"\n";
    let cases = [
        ("request.body", "7:9"),
        ("request.url", "4:8"),
        ("request.headers.x.y-Z", "6:12"),
        ("request.headers.other", "6:5"),
        ("request", "4:3"),
        ("", "1:1"),
        ("kindred", "1:1"),
    ];
    for (field, place) in cases {
        let problem = policy::documents::problem_in("t.x", document.as_bytes(), field, "m".into());
        assert_eq!(problem.to_string(), format!("t.x.yaml:{place}: m"), "{field}");
    }
}

#[test]
fn problems_are_told_up_to_a_number() {
    let many: String = (0..4_000).map(|at| format!("zz{at}: 1\n")).collect();
    let problems = destination("a", many.as_bytes()).unwrap_err();
    assert_eq!(problems.len(), 100);
}
