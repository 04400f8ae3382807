//! Notifications: made with what they tell of, tried until somebody takes them or the attempts are
//! used up, and swept when they have served their time.

#![cfg(test)]

mod support;

use ledger::{
    AttemptEnd, Command, DeliveryRow, DeliveryStatus, Receiver, RegisterWebhook, Reply,
    ReportDelivery, query,
};
use serde_json::json;
use support::{NS, Node, accepted, channel, http_destination, word};
use types::limits::{DELIVERY_ATTEMPTS_MAX, DELIVERY_KEPT_MS};
use types::*;

const GATES: &str = "gates:
  - name: all
    resource: \"*\"
    policies:
      - require_approval_over: 1
";

struct Scene {
    node: Node,
    agent: KeyId,
    person: KeyId,
}

impl Scene {
    fn with_channels(channels: Vec<Channel>) -> Self {
        let mut node = Node::with_policies(&[("gates.yaml", GATES)]);
        let agent = node.register("bot", Role::Agent, None);
        let person = node.register("rita", Role::Reviewer, None);
        node.apply_channels(channels);
        Self { node, agent, person }
    }

    fn submit(&mut self, resource: &str, records: usize) -> IntentId {
        let records: Vec<_> = (0..records).map(|id| json!({"id": id})).collect();
        let request = json!({
            "resource": resource, "payload": {"records": records}, "expires_in_ms": 1_000,
        });
        accepted(&self.node.submit(self.agent, &request))
    }

    fn pending(&self) -> Vec<DeliveryRow> {
        let pending = query::pending_deliveries(&self.node.state, LogTime(0), 100).unwrap();
        pending
            .into_iter()
            .map(|(at, namespace, id)| {
                let row = query::delivery(&self.node.state, namespace, id).unwrap().unwrap();
                assert_eq!((row.at, namespace), (at, NS));
                row
            })
            .collect()
    }

    /// `receiver notice actor reason` of what waits to be sent.
    fn told(&self) -> Vec<String> {
        let words = |row: &DeliveryRow| {
            let to = match &row.to {
                Receiver::Channel(name) => name.clone(),
                Receiver::Webhook(_) => "webhook".into(),
            };
            let reason = row.reason.as_deref().unwrap_or("-");
            format!("{to} {} {} {reason}", row.notice.name(), row.actor)
        };
        self.pending().iter().map(words).collect()
    }

    fn report(&mut self, row: &DeliveryRow, error: Option<&str>) -> Reply {
        let (delivery, attempt) = (row.id, row.attempts + 1);
        let report = ReportDelivery { delivery, attempt, error: error.map(Into::into) };
        let mut envelope = self.node.envelope(None, Command::ReportDelivery(report));
        envelope.namespace = NS;
        self.node.commit(&[envelope]).remove(0)
    }

    fn hook(&mut self, key: KeyId, intent: IntentId, url: &str) -> Reply {
        let webhook = WebhookId(self.node.draw());
        let register =
            RegisterWebhook { intent, webhook, url: url.into(), secret_sealed: vec![1, 2, 3] };
        self.node.send(Some(key), Command::RegisterWebhook(register))
    }
}

#[test]
fn a_channel_is_told_what_its_document_asks_for() {
    let all = channel("all", &Notice::ALL, &[]);
    let ends = channel("ends", &[Notice::Rejected, Notice::Expired], &[]);
    let mail = channel("mail", &Notice::ALL, &["email.*"]);
    let mut scene = Scene::with_channels(vec![all, ends, mail]);

    let crm = scene.submit("crm", 2);
    let held = "all held system Record count 2 exceeds auto-approve threshold (1)";
    assert_eq!(scene.told(), [held]);
    scene.node.reject(scene.person, crm);
    assert_eq!(scene.told(), [held, "all rejected rita bad data", "ends rejected rita bad data"]);

    let mut scene = Scene::with_channels(vec![channel("mail", &Notice::ALL, &["email.*"])]);
    scene.submit("crm", 2);
    assert!(scene.told().is_empty());
    scene.submit("email.batch", 1);
    assert!(scene.told().is_empty(), "nobody is told that policy allowed something");
    scene.submit("email.batch", 2);
    scene.node.wait_ms(2_000);
    scene.node.tick();
    let told = scene.told();
    assert_eq!(told.len(), 3, "{told:?}");
    assert_eq!(told[1], "mail expired system -");
}

#[test]
fn the_course_of_an_execution_is_told() {
    let mut scene = Scene::with_channels(vec![channel("all", &Notice::ALL, &[])]);
    scene.node.apply_destinations(vec![http_destination("phone", false)]);
    let epoch = scene.node.take_over();
    let intent = scene.submit("phone", 2);
    let digest = scene.node.head(intent).approval.digest;
    scene.node.approve(scene.person, intent, Some(digest));
    let Reply::Claimed(order, _) = scene.node.claim(epoch, intent) else { panic!("not claimed") };
    scene.node.report_attempt(order.id, AttemptEnd::InDoubt);
    scene.node.report_attempt(order.id, AttemptEnd::Succeeded);
    let notices: Vec<_> = scene.pending().iter().map(|row| row.notice.name()).collect();
    assert_eq!(notices, ["held", "approved", "in_doubt", "executed"]);
}

#[test]
fn a_webhook_is_told_of_the_decision_and_of_nothing_else() {
    let mut scene = Scene::with_channels(vec![]);
    let intent = scene.submit("crm", 2);
    let other = scene.node.register("other", Role::Agent, None);
    assert_eq!(word(&scene.hook(other, intent, "http://a/")), "refused: NotYours");
    let Reply::Webhook(first) = scene.hook(scene.agent, intent, "http://a/") else { panic!() };
    let again = scene.hook(scene.person, intent, "http://b/");
    assert_eq!(again, Reply::Webhook(first), "it keeps its id");
    let row = query::webhook(&scene.node.state, NS, intent).unwrap().unwrap();
    assert_eq!(row.url, "http://b/");
    assert!(scene.told().is_empty());
    scene.node.reject(scene.person, intent);
    assert_eq!(scene.told(), ["webhook rejected rita bad data"]);

    let late = scene.submit("crm", 2);
    scene.node.reject(scene.person, late);
    scene.hook(scene.agent, late, "http://a/");
    assert_eq!(scene.told().len(), 1, "registered after the decision, it never fires");
}

#[test]
fn an_attempt_that_failed_is_made_again_after_a_while_until_the_last() {
    let mut scene = Scene::with_channels(vec![channel("all", &[Notice::Held], &[])]);
    let intent = scene.submit("crm", 2);
    let first = scene.pending().remove(0);
    assert_eq!(first.at, scene.node.now, "the first attempt is made at once");
    for (attempt, wait) in [5_000, 30_000, 120_000, 600_000].into_iter().enumerate() {
        let row = scene.pending().remove(0);
        assert_eq!((row.id, row.attempts as usize), (first.id, attempt));
        scene.report(&row, Some("connection refused"));
        let next = scene.pending().remove(0);
        assert_eq!(next.at, scene.node.now.plus_ms(wait));
        assert_eq!(next.error.as_deref(), Some("connection refused"));
        // What was said already counts once.
        scene.report(&row, Some("again"));
        assert_eq!(scene.pending(), [next]);
        scene.node.wait_ms(wait);
    }
    let last = scene.pending().remove(0);
    assert_eq!(last.attempts + 1, DELIVERY_ATTEMPTS_MAX);
    scene.report(&last, Some("gone"));
    assert!(scene.pending().is_empty());
    let row = query::delivery(&scene.node.state, NS, first.id).unwrap().unwrap();
    assert_eq!(row.status, DeliveryStatus::Failed);
    let kinds = scene.node.kinds(intent);
    let attempts = kinds.iter().filter(|kind| **kind == "webhook_attempt_failed").count();
    assert_eq!((attempts, *kinds.last().unwrap()), (4, "webhook_failed"));
}

#[test]
fn what_was_delivered_stays_for_a_while_and_is_swept() {
    let mut scene = Scene::with_channels(vec![channel("all", &[Notice::Held], &[])]);
    let intents = [scene.submit("crm", 2), scene.submit("crm", 3)];
    for row in scene.pending() {
        scene.report(&row, None);
    }
    assert!(scene.pending().is_empty());
    assert!(scene.node.kinds(intents[0]).contains(&"webhook_delivered"));
    let listed = |scene: &Scene, before| {
        query::channel_deliveries(&scene.node.state, NS, "all", before, 10).unwrap()
    };
    let newest = listed(&scene, None);
    assert_eq!(newest.iter().map(|row| row.intent).collect::<Vec<_>>(), [intents[1], intents[0]]);
    assert_eq!(listed(&scene, Some(newest[0].id)).len(), 1);
    assert!(query::channel_deliveries(&scene.node.state, NS, "al", None, 10).unwrap().is_empty());
    scene.node.wait_ms(DELIVERY_KEPT_MS);
    scene.node.tick();
    assert!(listed(&scene, None).is_empty());
    assert_eq!(query::delivery(&scene.node.state, NS, newest[0].id).unwrap(), None);
}

#[test]
fn no_two_notifications_have_one_id() {
    let channels = (0..20).map(|n| channel(&format!("c{n}"), &Notice::ALL, &[])).collect();
    let mut scene = Scene::with_channels(channels);
    for _ in 0..5 {
        scene.submit("crm", 2);
    }
    scene.node.wait_ms(2_000);
    scene.node.tick();
    let ids: std::collections::BTreeSet<_> = scene.pending().iter().map(|row| row.id).collect();
    assert_eq!(ids.len(), 100, "one page of them");
    let all = query::pending_deliveries(&scene.node.state, LogTime(0), 1_000).unwrap();
    assert_eq!(all.len(), 20 * 5 * 2);
}
