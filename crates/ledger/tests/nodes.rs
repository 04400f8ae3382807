//! Nodes of the cluster: who is taken in, whose id has served, and who may ask for changes.
#![cfg(test)]

mod support;

use ledger::*;
use support::{ADMIN, Node, START, word};
use types::limits::JOIN_TOKEN_MS_MAX;
use types::*;

fn new_node(id: u64, data: u8) -> NewNode {
    NewNode { id: NodeId(id), incarnation: [data; 16] }
}

fn send(node: &mut Node, key: Option<KeyId>, change: ChangeCluster) -> String {
    word(&node.send(key, Command::ChangeCluster(change)))
}

/// What the tree has of the cluster after its first leaf.
fn kinds(node: &Node) -> Vec<&'static str> {
    let size = query::tree(&node.state).unwrap().0;
    let leaf = |sequence| query::leaf(&node.state, sequence).unwrap().unwrap().0.body.kind();
    (1..size).map(leaf).collect()
}

#[test]
fn an_id_belongs_to_one_data_directory_for_ever() {
    const ADMITTED: &str = "node_admitted";
    const REMOVED: &str = "node_removed";
    let admit = |id, data| ChangeCluster::Admit(new_node(id, data));
    let remove = |id| ChangeCluster::Remove(NodeId(id));
    #[rustfmt::skip]
    let cases = [
        ("the node that made it",    admit(1, 1), "Done",                None),
        ("that one with other data", admit(1, 2), "refused: NodeIdUsed", None),
        ("a new one",                admit(2, 2), "Done",                Some(ADMITTED)),
        ("asked again",              admit(2, 2), "Done",                None),
        ("with other data",          admit(2, 3), "refused: NodeIdUsed", None),
        ("removed",                  remove(2),   "Done",                Some(REMOVED)),
        ("removed again",            remove(2),   "Done",                None),
        ("back with its data",       admit(2, 2), "refused: NodeIdUsed", None),
        ("back without it",          admit(2, 4), "refused: NodeIdUsed", None),
        ("under a new id",           admit(3, 4), "Done",                Some(ADMITTED)),
        ("nobody saw it come",       remove(9),   "Done",                Some(REMOVED)),
        ("and it never comes again", admit(9, 9), "refused: NodeIdUsed", None),
    ];
    let mut node = Node::made_by(Some(new_node(1, 1)));
    for (name, change, expected, leaf) in cases {
        let before = kinds(&node).len();
        let key = (!matches!(change, ChangeCluster::Admit(_))).then_some(ADMIN);
        assert_eq!(send(&mut node, key, change), expected, "{name}");
        assert_eq!(kinds(&node)[before..], leaf.into_iter().collect::<Vec<_>>(), "{name}");
    }
    let row = |id| query::node(&node.state, NodeId(id)).unwrap().unwrap();
    let first = NodeRow { incarnation: Some([1; 16]), admitted_at: Some(START), removed_at: None };
    assert_eq!(row(1), first);
    assert_eq!(row(2).removed_at, Some(START));
    assert_eq!(row(9).incarnation, None);
}

#[test]
fn a_refusal_says_what_to_do() {
    for (removed, why) in [(true, "was removed"), (false, "is known with other data")] {
        let text = Refusal::NodeIdUsed { node: NodeId(4), removed }.to_string();
        assert!(text.starts_with(&format!("node 4 {why}")), "{text}");
        assert!(text.contains("never used again") && text.contains("a new id"), "{text}");
    }
}

#[test]
fn only_operators_and_admins_of_the_cluster_change_it() {
    let mut node = Node::new();
    let keys = Role::ALL.map(|role| (role, node.register(&format!("{role}-1"), role, None)));
    let blue = FirstKey {
        agent: AgentId(700),
        name: "admin".into(),
        key: KeyId(700),
        key_hash: Digest::of(b"blue"),
    };
    let create = CreateNamespace { name: "blue".into(), admin: blue };
    let Reply::Namespace(blue) = node.send(Some(ADMIN), Command::CreateNamespace(Box::new(create)))
    else {
        panic!("a namespace");
    };
    let to = NodeId(2);
    let changes = [
        (ChangeCluster::Promote(to), "cluster_change_requested"),
        (ChangeCluster::Demote(to), "cluster_change_requested"),
        (ChangeCluster::TransferLeader(None), "cluster_change_requested"),
        (ChangeCluster::IssueJoinToken { valid_ms: 1 }, "join_token_issued"),
        (ChangeCluster::Remove(to), "node_removed"),
    ];
    for (change, leaf) in changes {
        let before = kinds(&node).len();
        for (role, key) in keys {
            if role != Role::Operator {
                let may = role == Role::Admin;
                let got = send(&mut node, Some(key), change);
                assert_eq!(got == "refused: Role", !may, "{role} {change:?}: {got}");
            }
        }
        assert_eq!(send(&mut node, None, change), "refused: InvalidKey", "{change:?}");
        let mut elsewhere = node.envelope(Some(KeyId(700)), Command::ChangeCluster(change));
        elsewhere.namespace = blue;
        assert_eq!(word(&node.commit(&[elsewhere])[0]), "refused: Role", "{change:?}");
        assert_eq!(kinds(&node)[before..], [leaf], "by the admin alone");
    }
    let (_, operator) = keys[4];
    let got = send(&mut node, Some(operator), ChangeCluster::Promote(NodeId(5)));
    assert_eq!(got, "Done");
    let last = query::tree(&node.state).unwrap().0 - 1;
    let (leaf, _) = query::leaf(&node.state, last).unwrap().unwrap();
    let change = ClusterChange::Promote;
    assert_eq!(leaf.body, LeafBody::ClusterChangeRequested { change, node: Some(NodeId(5)) });
    assert_eq!((leaf.actor, leaf.namespace), (Some(AgentId(operator.0)), NamespaceId::DEFAULT));
}

#[test]
fn a_join_token_counts_for_a_day_at_most() {
    let mut node = Node::new();
    let cases =
        [(1_000, 1_000), (JOIN_TOKEN_MS_MAX, JOIN_TOKEN_MS_MAX), (u64::MAX, JOIN_TOKEN_MS_MAX)];
    for (valid_ms, expected) in cases {
        let issue = ChangeCluster::IssueJoinToken { valid_ms };
        let expires_at = START.plus_ms(expected);
        let reply = node.send(Some(ADMIN), Command::ChangeCluster(issue));
        assert_eq!(reply, Reply::JoinToken { expires_at });
        let last = query::tree(&node.state).unwrap().0 - 1;
        let (leaf, _) = query::leaf(&node.state, last).unwrap().unwrap();
        assert_eq!(leaf.body, LeafBody::JoinTokenIssued { expires_at });
    }
}
