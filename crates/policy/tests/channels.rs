//! Channel documents: what they become, what is refused, and where the finger points.

use policy::documents::channel;
use types::{Channel, ChannelKind, Digest, Notice};

const WEBHOOK: &str = "kind: webhook
url: https://hooks.example/in?token=${secret:in}
secret: ${secret:sign}
events: [held, in_doubt]
resources: [\"crm.*\", leads.outbound_call]
";

fn problems(name: &str, text: &str) -> Vec<String> {
    match channel(name, text.as_bytes()) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn good_documents_are_read() {
    let expected = Channel {
        name: "ops".into(),
        kind: ChannelKind::Webhook,
        url: "https://hooks.example/in?token=${secret:in}".into(),
        secret: Some("${secret:sign}".into()),
        events: vec![Notice::Held, Notice::InDoubt],
        resources: vec!["crm.*".into(), "leads.outbound_call".into()],
        digest: Digest::of(WEBHOOK.as_bytes()),
        source: WEBHOOK.as_bytes().to_vec(),
    };
    assert_eq!(channel("ops", WEBHOOK.as_bytes()), Ok(expected));

    let all: Vec<&str> = Notice::ALL.into_iter().map(Notice::name).collect();
    let all = all.join(", ");
    let text = format!("kind: slack\nurl: ${{secret:slack_url}}\nevents: [{all}]\n");
    let slack = channel("a.B_c-1", text.as_bytes()).expect("a good document");
    assert_eq!((slack.kind, slack.url.as_str()), (ChannelKind::Slack, "${secret:slack_url}"));
    assert_eq!((slack.events.as_slice(), slack.secret), (Notice::ALL.as_slice(), None));
    assert!(slack.resources.is_empty());

    for url in ["http://127.0.0.1:9/x", "https://a.example/${secret:path}?b=${secret:b}"] {
        let text = format!("kind: webhook\nurl: {url}\nevents: [failed]\n");
        assert_eq!(problems("a", &text), [""; 0], "{url}");
    }
}

#[test]
#[rustfmt::skip]
fn a_problem_names_line_column_and_the_nearest_word() {
    let cases = [
        ("kind: webhok\nurl: https://a/\nevents: [held]\n",
         "1:7: `kind` is webhook or slack (did you mean `webhook`?)"),
        ("kind: slack\nurl: https://a/\nevent: [held]\n",
         "3:1: unknown key `event` (did you mean `events`?)"),
        ("kind: slack\nevents: [held]\n", "1:1: `url` is missing"),
        ("kind: slack\nurl: https://a/\n", "1:1: `events` is missing"),
        ("url: https://a/\nevents: [held]\n", "1:1: `kind` is missing"),
        ("kind: slack\nurl: https://a/\nsecret: ${secret:a}\nevents: [held]\n",
         "3:1: a slack channel has no `secret`: its url is the secret"),
        ("kind: webhook\nurl: https://a/\nsecret: hunter2\nevents: [held]\n",
         "3:9: documents hold no secrets; write `${secret:NAME}` and declare NAME on each node"),
        ("kind: webhook\nurl: https://a/\nsecret: ${secret:a}b\nevents: [held]\n",
         "3:9: documents hold no secrets; write `${secret:NAME}` and declare NAME on each node"),
        ("kind: webhook\nurl: https://a/\nsecret: ${secret:a b}\nevents: [held]\n",
         "3:9: a secret is referred to as `${secret:NAME}`, NAME of letters, digits, `.`, `_` \
          and `-`, at most 64"),
        ("kind: webhook\nurl: https://a/{{ intent.id }}\nevents: [held]\n",
         "2:6: a channel's url is no template; it may hold `${secret:NAME}`"),
        ("kind: webhook\nurl: ${secret:host}/x\nevents: [held]\n",
         "2:6: a url begins with `https://` or `http://`, written out"),
        ("kind: webhook\nurl: https://${secret:host}/x\nevents: [held]\n",
         "2:6: host and port stand in the url as they are, without template or secret"),
        ("kind: webhook\nurl: https://a/\nevents: []\n",
         "3:9: a channel that is told of nothing is of no use; name an event"),
        ("kind: webhook\nurl: https://a/\nevents: held\n",
         "3:9: expected a list of events, found text"),
        ("kind: webhook\nurl: https://a/\nevents: [held, failed, held]\n",
         "3:24: `held` stands here twice"),
        ("kind: webhook\nurl: https://a/\nevents: [canceled]\n",
         "3:10: `events` is held, approved, rejected, cancelled, expired, executed, failed or \
          in_doubt (did you mean `cancelled`?)"),
        ("kind: webhook\nurl: https://a/\nevents: [held]\nresources: []\n",
         "4:12: expected 1 to 256 entries, found 0"),
        ("kind: webhook\nurl: https://a/\nevents: [held]\nresources: ['a ']\n",
         "4:13: a resource's name neither begins nor ends with a blank"),
        ("kind: slack\n url: https://a/\n",
         "2:5: a `:` where no key can stand: check the indentation, or put the text in quotes"),
        ("", "1:1: the document is empty"),
        ("- kind\n", "1:1: expected a mapping at the top, found a list"),
    ];
    for (text, expected) in cases {
        assert_eq!(problems("a", text), [format!("a.yaml:{expected}")], "{text:?}");
    }
}

#[test]
fn names_are_words() {
    let long = "a".repeat(64);
    for name in ["ops", "a.b_C-9", long.as_str()] {
        assert_eq!(problems(name, WEBHOOK), [""; 0], "{name}");
    }
    let longer = "a".repeat(65);
    for name in ["", "a b", "a/b", "ü", "a*", longer.as_str()] {
        let expected =
            "channel.yaml:1:1: a channel's name has letters, digits, `.`, `_` and `-`, at most 64";
        assert_eq!(problems(name, WEBHOOK), [expected], "{name}");
    }
}
