//! Every route in one table, from which the router and `/openapi.json` are both made.
//!
//! Invariant: a route that is served is documented, because both come from the same row.

use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodFilter, MethodRouter, on};

use crate::finish::{finish, unknown_method, unknown_route};
use crate::state::App;
use crate::{
    agents, audit, batch, cluster, cluster_changes, decide, decision, deliveries, discovery,
    executions, freezes, health, intents, links, listing, namespaces, nonces, policies,
    policy_changes, propose, setting_changes, settings, simulate, webhooks,
};

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// Anybody, without a key.
    Open,
    /// Anybody with a token that is no key; the words say where it stands.
    Token(&'static str),
    /// A key; the words say of which role.
    Key(&'static str),
}

/// One row.
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) who: Who,
    /// Name of the request body's schema.
    pub(crate) body: Option<&'static str>,
    /// Status and schema of the answers that are no problems.
    pub(crate) answers: &'static [(u16, &'static str)],
    /// Names of query parameters.
    pub(crate) query: &'static [&'static str],
    handler: MethodRouter<App>,
}

impl Route {
    fn new<H, T>(method: Method, path: &'static str, handler: H, summary: &'static str) -> Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        // The table below uses no method that axum does not route.
        let filter = MethodFilter::try_from(method.clone()).unwrap_or(MethodFilter::GET);
        Self {
            method,
            path,
            summary,
            who: Who::Key("any"),
            body: None,
            answers: &[(200, "Object")],
            query: &[],
            handler: on(filter, handler),
        }
    }

    fn who(mut self, who: Who) -> Self {
        self.who = who;
        self
    }

    fn body(mut self, schema: &'static str) -> Self {
        self.body = Some(schema);
        self
    }

    fn answers(mut self, answers: &'static [(u16, &'static str)]) -> Self {
        self.answers = answers;
        self
    }

    /// Whether the same `Idempotency-Key` gets the first answer again. A token is good for one
    /// thing, which its own answer tells again or refuses; simulating changes nothing; in a batch
    /// each item has a key of its own.
    pub(crate) fn remembers_requests(&self) -> bool {
        self.method == Method::POST
            && matches!(self.who, Who::Key(_))
            && !matches!(self.path, "/v1/policies/simulate" | "/v1/intents/batch")
    }

    fn query(mut self, names: &'static [&'static str]) -> Self {
        self.query = names;
        self
    }
}

fn get<H: Handler<T, App>, T: 'static>(
    path: &'static str,
    handler: H,
    summary: &'static str,
) -> Route {
    Route::new(Method::GET, path, handler, summary)
}

fn put<H: Handler<T, App>, T: 'static>(
    path: &'static str,
    handler: H,
    summary: &'static str,
) -> Route {
    Route::new(Method::PUT, path, handler, summary)
}

fn delete<H: Handler<T, App>, T: 'static>(
    path: &'static str,
    handler: H,
    summary: &'static str,
) -> Route {
    Route::new(Method::DELETE, path, handler, summary)
}

fn post<H: Handler<T, App>, T: 'static>(
    path: &'static str,
    handler: H,
    summary: &'static str,
) -> Route {
    Route::new(Method::POST, path, handler, summary)
}

const READ: &[&str] = &["consistency", "min_index"];
const LIST: &[&str] = &["status", "phase", "agent", "limit", "before", "consistency", "min_index"];
const TRAIL: &[&str] = &["limit", "after", "consistency", "min_index"];
const PROPOSED: &[(u16, &str)] = &[(200, "ProposeAnswer"), (409, "DuplicateAnswer")];
const DECIDED: &[(u16, &str)] = &[(200, "DecideAnswer")];
const OWN: Who = Who::Key("the intent's own agent, or reviewer, auditor or admin");
const DECIDER: Who = Who::Key("reviewer or admin, and not who asked");
const LINK: Who = Who::Token("the approval link's token in the path");
const ADMIN: Who = Who::Key("admin");

/// All routes.
pub(crate) fn routes() -> Vec<Route> {
    let mut all = intent_routes();
    all.extend(decision_routes());
    all.extend(execution_routes());
    all.extend(notice_routes());
    all.extend(agent_routes());
    all.extend(policy_routes());
    all.extend(setting_routes());
    all.extend(freeze_routes());
    all.extend(cluster_routes());
    all.extend(other_routes());
    all
}

fn intent_routes() -> Vec<Route> {
    let submit = Who::Key("agent or admin");
    vec![
        post("/v1/intents", propose::intents, "Submit an intent")
            .who(submit)
            .body("Propose")
            .answers(PROPOSED),
        post("/v1/intents/batch", batch::batch, "Submit up to 1,000 intents, one a line")
            .who(submit)
            .body("ProposeLine")
            .answers(&[(200, "ProposeLineAnswer")]),
        post("/v1/propose", propose::propose, "Submit an intent; the older spelling")
            .who(submit)
            .body("Propose")
            .answers(PROPOSED),
        get("/v1/intents", listing::list, "List intents, newest first")
            .query(LIST)
            .answers(&[(200, "IntentList")]),
        get("/v1/proposals", listing::proposals, "List intents; the older spelling")
            .query(LIST)
            .answers(&[(200, "IntentList")]),
        get("/v1/intents/{id}", intents::one, "Read an intent, or wait until it is decided")
            .who(OWN)
            .query(&["wait", "until", "consistency", "min_index"])
            .answers(&[(200, "Intent")]),
        get("/v1/proposals/{id}", intents::one, "Read an intent; the older spelling")
            .who(OWN)
            .query(&["wait", "until", "consistency", "min_index"])
            .answers(&[(200, "Intent")]),
        get("/v1/intents/{id}/audit", audit::trail, "The audit trail of an intent")
            .who(OWN)
            .query(TRAIL)
            .answers(&[(200, "AuditTrail")]),
        get("/v1/audit/{id}", audit::trail, "The audit trail of an intent; the older spelling")
            .who(OWN)
            .query(TRAIL)
            .answers(&[(200, "AuditTrail")]),
        get("/v1/intents/{id}/decision", decision::decision, "What policy said, rule by rule")
            .who(OWN)
            .query(READ)
            .answers(&[(200, "Decision")]),
    ]
}

fn decision_routes() -> Vec<Route> {
    let decision = |route: Route| route.who(DECIDER).body("Decide").answers(DECIDED);
    vec![
        get("/v1/nonce", nonces::nonce, "A nonce that one decision may carry, once")
            .answers(&[(200, "Nonce")]),
        get(
            "/v1/intents/{id}/approval-link",
            links::issue,
            "A link that carries your decision once",
        )
        .who(DECIDER)
        .answers(&[(200, "ApprovalLink")]),
        get("/v1/approval-links/{token}", links::show, "What an approval link decides")
            .who(LINK)
            .query(READ)
            .answers(&[(200, "LinkView")]),
        decision(post("/v1/approval-links/{token}/approve", links::approve, "Approve by a link"))
            .who(LINK),
        decision(post("/v1/approval-links/{token}/reject", links::reject, "Reject by a link"))
            .who(LINK),
        decision(post("/v1/intents/{id}/approve", decide::approve, "Approve a held intent")),
        decision(post("/v1/approve", decide::approve, "Approve; the older spelling")),
        decision(post("/v1/intents/{id}/reject", decide::reject, "Reject a held intent")),
        decision(post("/v1/reject", decide::reject, "Reject; the older spelling")),
        decision(post(
            "/v1/intents/{id}/cancel-approval",
            decide::cancel,
            "Withdraw the question while an intent is held",
        )),
        decision(post(
            "/v1/intents/{id}/cancel",
            decide::withdraw,
            "Withdraw an intent that is held, or allowed and not handed out",
        ))
        .who(Who::Key("the intent's own agent, or reviewer or admin")),
    ]
}

fn execution_routes() -> Vec<Route> {
    let executor = Who::Key("the intent's own agent, or admin");
    vec![
        post("/v1/intents/{id}/execute", executions::execute, "Hand an allowed intent out, once")
            .who(executor)
            .body("Execute")
            .answers(&[(201, "Order")]),
        get("/v1/executions/{id}", executions::order, "Read an execution order")
            .who(OWN)
            .query(READ)
            .answers(&[(200, "Order")]),
        post("/v1/executions/{id}/report", executions::report, "Report how an order went")
            .who(Who::Key("the order's token, or a key of the intent's own agent or an admin"))
            .body("Report")
            .answers(&[(200, "Order")]),
        post("/v1/intents/{id}/resolve", executions::resolve, "Say how a doubt ended")
            .who(DECIDER)
            .body("Resolve"),
    ]
}

fn notice_routes() -> Vec<Route> {
    vec![
        post("/v1/webhooks/register", webhooks::register, "Be told how an intent is decided")
            .who(Who::Key("the intent's own agent, or reviewer or admin"))
            .body("Webhook"),
        get("/v1/channels/{name}/deliveries", deliveries::list, "What became of notifications")
            .who(Who::Key("reviewer, auditor, operator or admin"))
            .query(&["limit", "before", "consistency", "min_index"]),
    ]
}

fn agent_routes() -> Vec<Route> {
    let stopper = Who::Key("reviewer or admin");
    vec![
        post("/v1/agents/register", agents::register, "Register an agent; shows its key once")
            .who(ADMIN)
            .body("Register")
            .answers(&[(201, "Registered")]),
        get("/v1/agents", agents::list, "List agents")
            .who(Who::Key("reviewer, auditor or admin"))
            .query(&["limit", "after", "consistency", "min_index"])
            .answers(&[(200, "AgentList")]),
        get("/v1/agents/{id}", agents::one, "Read an agent")
            .who(Who::Key("the agent itself, or reviewer, auditor or admin"))
            .query(READ)
            .answers(&[(200, "Agent")]),
        post("/v1/agents/{id}/suspend", agents::suspend, "Stop an agent for now").who(stopper),
        post("/v1/agents/{id}/resume", agents::resume, "Let a suspended agent go on").who(stopper),
        post("/v1/agents/{id}/revoke", agents::revoke, "Stop an agent for ever").who(stopper),
        post("/v1/agents/{id}/role", agents::role, "Give an agent another role")
            .who(ADMIN)
            .body("GiveRole"),
        post("/v1/agents/{id}/rotate-key", agents::rotate_key, "Give an agent a new key")
            .who(Who::Key("the agent itself, or admin"))
            .body("RotateKey")
            .answers(&[(201, "Object")]),
    ]
}

fn policy_routes() -> Vec<Route> {
    let readers = Who::Key("reviewer, auditor, operator or admin");
    vec![
        get("/v1/policies", policies::list, "Ids of the policies in force").query(READ),
        Route::new(
            Method::PUT,
            "/v1/policies",
            policy_changes::put_all,
            "Replace the whole set of policies at once",
        )
        .who(ADMIN)
        .body("PolicySet"),
        get("/v1/policies/{id}", policies::one, "Read a policy as written")
            .who(readers)
            .query(READ),
        Route::new(
            Method::PUT,
            "/v1/policies/{id}",
            policy_changes::put_one,
            "Put one policy; the body is its YAML",
        )
        .who(ADMIN)
        .body("Yaml")
        .answers(&[(200, "Object"), (201, "Object")]),
        Route::new(
            Method::DELETE,
            "/v1/policies/{id}",
            policy_changes::delete_one,
            "Delete one policy",
        )
        .who(ADMIN),
        get("/v1/policies/{id}/versions", policies::versions, "How a policy came to be")
            .who(readers)
            .query(&["limit", "before", "consistency", "min_index"]),
        post("/v1/policies/simulate", simulate::simulate, "What policy would say; stores nothing")
            .who(Who::Key("agent, reviewer, auditor or admin"))
            .body("Propose"),
    ]
}

fn setting_routes() -> Vec<Route> {
    let readers = Who::Key("reviewer, auditor, operator or admin");
    let read = |route: Route| route.who(readers).query(READ);
    let put_one = |route: Route, answers| route.who(ADMIN).body("Yaml").answers(answers);
    vec![
        read(get("/v1/destinations", settings::destinations, "Destinations in force"))
            .answers(&[(200, "DestinationList")]),
        put(
            "/v1/destinations",
            setting_changes::put_destinations,
            "Replace the whole set of destinations at once",
        )
        .who(ADMIN)
        .body("DestinationSet"),
        read(get(
            "/v1/destinations/{name}",
            settings::destination,
            "Read a destination as written, and what it promises",
        ))
        .answers(&[(200, "Destination")]),
        put_one(
            put(
                "/v1/destinations/{name}",
                setting_changes::put_destination,
                "Put one destination; the body is its YAML",
            ),
            &[(200, "PutDestination"), (201, "PutDestination")],
        ),
        delete(
            "/v1/destinations/{name}",
            setting_changes::delete_destination,
            "Delete one destination",
        )
        .who(ADMIN),
        read(get("/v1/channels", settings::channels, "Channels in force"))
            .answers(&[(200, "ChannelList")]),
        put(
            "/v1/channels",
            setting_changes::put_channels,
            "Replace the whole set of channels at once",
        )
        .who(ADMIN)
        .body("ChannelSet"),
        read(get("/v1/channels/{name}", settings::channel, "Read a channel as written"))
            .answers(&[(200, "Channel")]),
        put_one(
            put(
                "/v1/channels/{name}",
                setting_changes::put_channel,
                "Put one channel; the body is its YAML",
            ),
            &[(200, "PutChannel"), (201, "PutChannel")],
        ),
        delete("/v1/channels/{name}", setting_changes::delete_channel, "Delete one channel")
            .who(ADMIN),
    ]
}

fn freeze_routes() -> Vec<Route> {
    let people = Who::Key("reviewer, operator or admin");
    vec![
        get("/v1/freezes", freezes::list, "What is allowed and not carried out for now")
            .query(READ)
            .answers(&[(200, "FreezeList")]),
        put("/v1/freezes", freezes::put, "Stop what is allowed from being carried out")
            .who(people)
            .body("NewFreeze")
            .answers(&[(201, "Freeze"), (200, "Freeze")]),
        get("/v1/freezes/{id}", freezes::one, "Read a freeze, and what it came too late for")
            .query(READ)
            .answers(&[(200, "Freeze")]),
        post("/v1/freezes/{id}/unfreeze", freezes::unfreeze, "Let what was frozen go on")
            .who(people)
            .body("Unfreeze")
            .answers(&[(200, "Freeze"), (202, "Freeze")]),
    ]
}

fn cluster_routes() -> Vec<Route> {
    let operator = Who::Key("operator or admin of namespace default");
    let change =
        |route: Route| route.who(operator).body("NodeRef").answers(&[(200, "ChangedCluster")]);
    vec![
        get("/v1/cluster", cluster::show, "The cluster as this node knows it")
            .who(Who::Key("operator, auditor or admin"))
            .answers(&[(200, "Cluster")]),
        change(post("/v1/cluster/promote", cluster_changes::promote, "Let a learner vote")),
        change(post("/v1/cluster/demote", cluster_changes::demote, "Let a voter only learn")),
        change(post("/v1/cluster/remove", cluster_changes::remove, "Remove a node for ever")),
        change(post(
            "/v1/cluster/transfer-leader",
            cluster_changes::transfer_leader,
            "Let another voter lead",
        ))
        .body("TransferLeader"),
        post("/v1/cluster/join-token", cluster_changes::join_token, "A token for a new node")
            .who(operator)
            .body("NewJoinToken")
            .answers(&[(200, "JoinToken")]),
    ]
}

fn other_routes() -> Vec<Route> {
    vec![
        get("/v1/namespaces", namespaces::list, "Namespaces").query(READ),
        post("/v1/namespaces", namespaces::create, "Make a namespace; shows its admin's key once")
            .who(Who::Key("admin of namespace default"))
            .body("NewNamespace")
            .answers(&[(201, "Object")]),
        get("/v1/metrics", health::metrics, "Intents by what they are now").query(READ),
        get("/v1/audit/entries", audit::entries, "Every audit leaf of the namespace, oldest first")
            .who(Who::Key("reviewer, auditor or admin"))
            .query(TRAIL)
            .answers(&[(200, "AuditEntries")]),
        get("/v1/audit/checkpoint", audit::checkpoint, "Size and root of the audit tree")
            .query(READ),
        get("/health", health::health, "The build answers").who(Who::Open),
        get("/livez", health::live, "The process is alive").who(Who::Open),
        get("/readyz", health::ready, "Requests sent here will be answered")
            .who(Who::Open)
            .query(&["verbose"])
            .answers(&[(200, "Object"), (503, "Object")]),
        get("/.well-known/gate", discovery::well_known, "What this gate can do").who(Who::Open),
        get("/openapi.json", discovery::openapi, "This document").who(Who::Open),
    ]
}

/// The router over the table.
pub(crate) fn router(app: App) -> Router {
    let mut router = Router::new();
    for route in routes() {
        router = router.route(route.path, route.handler);
    }
    router
        .fallback(unknown_route)
        .method_not_allowed_fallback(unknown_method)
        .layer(from_fn_with_state(app.meters.clone(), finish))
        .with_state(app)
}
