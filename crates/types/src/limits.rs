//! Every limit of the gate, in one place. docs/limits.md repeats them for users; a test compares.

/// Bytes of an HTTP body.
pub const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Lines of a batch of intents, `POST /v1/intents/batch`.
pub const INTENT_BATCH_LINES_MAX: usize = 1_000;
/// Bytes of a batch of intents.
pub const INTENT_BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Lines of a batch of intents that are read and judged in one go, up to `INLINE_BYTES_MAX`; one
/// longer line goes alone.
pub const INTENT_PIECE_LINES_MAX: usize = 64;
/// Bytes of a body above which it is read, judged and printed beside the threads that serve
/// requests, so that it holds up no small ones.
pub const INLINE_BYTES_MAX: usize = 64 * 1024;
/// Bytes of small bodies, up to `INLINE_BYTES_MAX` each, that one node holds at a time; more get
/// 503.
pub const SMALL_BODIES_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Bytes of larger bodies that one node holds at a time; more get 503.
pub const LARGE_BODIES_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of one string field of a request (payload aside).
pub const STRING_BYTES_MAX: usize = 4 * 1024;
/// Bytes of an intent's metadata as JSON.
pub const METADATA_BYTES_MAX: usize = 64 * 1024;
/// Nesting of a JSON body or payload.
pub const JSON_DEPTH_MAX: usize = 64;
/// Values in a JSON body or payload: objects, lists, and what stands in them.
pub const JSON_VALUES_MAX: usize = 1_000_000;
/// Bytes of a key in a JSON body or payload.
pub const JSON_KEY_BYTES_MAX: usize = 4 * 1024;
/// Records in one payload.
pub const RECORDS_MAX: u64 = 100_000;
/// Entries of a list field such as `sensitivity_tags`.
pub const LIST_ITEMS_MAX: usize = 256;
/// Bytes of one policy document.
pub const POLICY_BYTES_MAX: usize = 1024 * 1024;
/// YAML nodes of one policy document.
pub const POLICY_NODES_MAX: usize = 10_000;
/// Environments of one list of rules.
pub const ENVIRONMENTS_MAX: usize = 64;
/// Regular expressions of one policy document.
pub const POLICY_PATTERNS_MAX: usize = 256;
/// Regular expressions of a policy set; each may take up to `PATTERN_BYTES_MAX` in memory.
pub const POLICY_SET_PATTERNS_MAX: usize = 512;
/// Bytes of the compiled form of one policy document: every environment is a whole list of rules.
pub const POLICY_COMPILED_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of the compiled form of a policy set.
pub const POLICY_SET_COMPILED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Problems that are told of one set of policies, destinations or channels; warnings too.
pub const POLICY_PROBLEMS_MAX: usize = 100;
/// Documents in one policy set.
pub const POLICY_DOCUMENTS_MAX: usize = 256;
/// Rows of one page of a list.
pub const PAGE_ROWS_MAX: u64 = 1_000;
/// Rows of a page when the caller names no limit.
pub const PAGE_ROWS_DEFAULT: u64 = 50;
/// Rows that one page of a list looks at; a page that stops there may be short, and has a cursor.
pub const PAGE_LOOKS_MAX: usize = 4_000;
/// How long an intent may wait, in milliseconds: 30 days.
pub const EXPIRES_IN_MS_MAX: u64 = 30 * 24 * 60 * 60 * 1_000;
/// How long an intent waits when the agent says nothing: one hour.
pub const EXPIRES_IN_MS_DEFAULT: u64 = 60 * 60 * 1_000;
/// The longest long poll, in milliseconds.
pub const WAIT_MS_MAX: u64 = 60_000;
/// Requests in flight per API key.
pub const IN_FLIGHT_PER_KEY_MAX: usize = 4_096;
/// Commands waiting for the log on one node; more get 503.
pub const QUEUE_COMMANDS_MAX: usize = 8_192;
/// Bytes of commands waiting for the log on one node.
pub const QUEUE_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Commands in one log entry.
pub const BATCH_COMMANDS_MAX: usize = 1_024;
/// Bytes of commands in one log entry; one larger command travels alone.
pub const BATCH_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Bytes of a command from which on it is packed, where that saves an eighth of them.
pub const PACK_BYTES_MIN: usize = 4 * 1024;
/// Bytes of a packed command when it is unpacked; a larger one is not packed.
pub const COMMAND_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Hits shown per reason.
pub const HITS_MAX: usize = 100;
/// Characters of a hit's excerpt.
pub const HIT_EXCERPT_CHARS_MAX: usize = 120;
/// Bytes of the path of a hit or a record; a longer one is cut in its middle.
pub const PATH_BYTES_MAX: usize = 256;
/// Dedup windows one intent may open (one per record with `per_record`).
pub const WINDOWS_PER_INTENT_MAX: usize = 100_000;
/// The longest dedup window, in milliseconds: 90 days.
pub const WINDOW_MS_MAX: u64 = 90 * 24 * 60 * 60 * 1_000;
/// How long a reply is kept under its request id, in milliseconds of log time.
pub const REPLY_KEPT_MS: u64 = 10 * 60 * 1_000;
/// How long an `Idempotency-Key` header is remembered, in milliseconds: 24 hours.
pub const REQUEST_KEY_KEPT_MS: u64 = 24 * 60 * 60 * 1_000;
/// How long a body's `idempotency_key` binds, in milliseconds: 30 days.
pub const IDEMPOTENCY_KEY_KEPT_MS: u64 = 30 * 24 * 60 * 60 * 1_000;
/// Live rows of remembered `Idempotency-Key` headers; more get 429.
pub const REQUEST_KEYS_MAX: u64 = 100_000_000;
/// Things due that one tick looks up; it works a row of the schedule off that it has begun.
pub const TICK_ROWS_MAX: usize = 1_000;
/// Rows that one tick touches, dedup windows included, before it leaves the rest to the next; what
/// belongs to one intent is never divided.
pub const TICK_WORK_MAX: usize = 10_000;
/// Namespaces of one cluster.
pub const NAMESPACES_MAX: u32 = 10_000;
/// Approvers that one intent may need.
pub const APPROVALS_MAX: u32 = 32;
/// Submits of one agent that a rate limit may count; a larger limit is refused when it is loaded.
pub const RATE_LIMIT_MAX: u64 = 1_000_000;
/// Bytes of one compiled regular expression of a policy.
pub const PATTERN_BYTES_MAX: usize = 1024 * 1024;
/// Nesting of a policy document.
pub const POLICY_DEPTH_MAX: usize = 32;
/// Characters of a policy id.
pub const POLICY_ID_CHARS_MAX: usize = 128;
/// Bytes of entries that one read of the log gives, to a follower or to apply.
pub const REPLICATION_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Entries applied in one write of the state.
pub const APPLY_ENTRIES_MAX: usize = 1_024;
/// Bytes of entries applied in one write of the state; one larger entry goes alone.
pub const APPLY_BYTES_MAX: usize = 1024 * 1024;
/// Callers whose key, role and status one node keeps a copy of.
pub const CALLERS_KEPT_MAX: usize = 4_096;
/// Linearizable reads waiting for one round to the majority; more get 503.
pub const READS_WAITING_MAX: usize = 65_536;
/// How long a read waits to become fresh, in milliseconds.
pub const READ_WAIT_MS_MAX: u64 = 10_000;
/// How long a batch of commands waits for its reply before its outcome is unknown, in milliseconds.
pub const PROPOSE_WAIT_MS_MAX: u64 = 30_000;
/// How long a command or a read waits for a leader before it is answered with 503, in
/// milliseconds.
pub const LEADER_WAIT_MS_MAX: u64 = 5_000;
/// Batches of commands that a node may have on their way to the leader.
pub const FORWARDS_MAX: usize = 4;
/// Bytes of entries that are on their way to one follower, or wait there, and are not confirmed;
/// an entry counts for at least 4 KiB, and one larger entry goes alone.
pub const REPLICATION_HELD_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes of one message between nodes.
pub const PEER_MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Connections of other nodes whose handshake is under way, or that wait to be served; beyond that
/// the oldest handshake ends for the newest.
pub const PEER_CONNECTIONS_MAX: usize = 64;
/// Calls on one connection of another node at a time.
pub const PEER_STREAMS_MAX: u32 = 256;
/// Bytes of a snapshot that are sent in one piece.
pub const SNAPSHOT_CHUNK_BYTES: usize = 256 * 1024;
/// What snapshots on their way to other nodes take of the network unless configured, in bytes per
/// second.
pub const SNAPSHOT_BYTES_PER_SECOND: u64 = 64 * 1024 * 1024;
/// Sets of hints that a slow listener may lag behind.
pub const EFFECTS_KEPT_MAX: usize = 1_024;
/// Entries applied since the last snapshot from which on a new one is made, unless configured.
pub const SNAPSHOT_ENTRIES: u64 = 50_000;
/// Bytes of log since the last snapshot from which on a new one is made.
pub const SNAPSHOT_BYTES: u64 = 64 * 1024 * 1024;
/// Entries kept in the log behind a snapshot, for followers that were away for a while, unless
/// configured.
pub const LOG_KEPT_ENTRIES: u64 = 20_000;
/// The smallest number of entries that either of the two may be configured to.
pub const SNAPSHOT_ENTRIES_MIN: u64 = 100;
/// The largest.
pub const SNAPSHOT_ENTRIES_MAX: u64 = 10_000_000;
/// Of those entries older ones go once more than this, and up to [`SNAPSHOT_BYTES`] on top, were
/// written behind them since the start; while a snapshot is sent they wait.
pub const LOG_KEPT_BYTES: u64 = 128 * 1024 * 1024;
/// Characters of an `Idempotency-Key` header.
pub const IDEMPOTENCY_KEY_CHARS_MAX: usize = 255;
/// Characters of an `X-Request-Id` that is taken from the client.
pub const REQUEST_ID_CHARS_MAX: usize = 64;
/// The largest record count an agent may claim: the largest whole number every client can write.
pub const RECORD_COUNT_CLAIM_MAX: u64 = (1 << 53) - 1;
/// How long older keys may go on after a rotation, in milliseconds: 30 days.
pub const KEY_OVERLAP_MS_MAX: u64 = 30 * 24 * 60 * 60 * 1_000;
/// API keys of one principal that are good at a time; a rotation that would leave more is refused.
pub const KEYS_PER_AGENT_MAX: usize = 16;
/// Freezes of one namespace, or of the whole cluster, at a time.
pub const FREEZES_MAX: usize = 64;
/// How long a freeze may stand unless it has no end, in milliseconds: 366 days.
pub const FREEZE_MS_MAX: u64 = 366 * 24 * 60 * 60 * 1_000;
/// How long who asks for a freeze waits for the executor to say what it came too late for, in
/// milliseconds.
pub const FREEZE_WAIT_MS_MAX: u64 = 10_000;
/// How long a connection waits for a request's head, idle time between requests included, in
/// milliseconds. Longer than clients keep idle connections, so that they close first.
pub const HEAD_WAIT_MS_MAX: u64 = 120_000;
/// How long a request's body may take to arrive, in milliseconds.
pub const BODY_WAIT_MS_MAX: u64 = 60_000;
/// HTTP connections of one node at a time; more wait in the accept queue.
pub const CONNECTIONS_MAX: usize = 16_384;
/// How long requests may go on after the door was told to close, in milliseconds.
pub const DRAIN_MS_MAX: u64 = 10_000;
/// How long a readiness check waits for a read index, in milliseconds.
pub const READY_WAIT_MS_MAX: u64 = 1_000;
/// Policy versions that one page of a document's history looks through.
pub const POLICY_VERSIONS_PAGE_MAX: usize = 100;
/// Characters of a namespace's name.
pub const NAMESPACE_NAME_CHARS_MAX: usize = 64;
/// How long an execution order may stay unreported before it is in doubt, in milliseconds.
pub const ORDER_MS: u64 = 15 * 60 * 1_000;
/// How long a nonce may be sent with a decision, in milliseconds.
pub const NONCE_MS: u64 = 300_000;
/// How far the time that a decision names may be from log time, in milliseconds.
pub const DECISION_CLOCK_MS_MAX: u64 = 300_000;
/// Bytes of one destination or channel document.
pub const SETTING_BYTES_MAX: usize = 64 * 1024;
/// Destinations, or channels, of one namespace.
pub const SETTINGS_MAX: usize = 256;
/// Characters of a destination's name, and of a channel's pattern over resources.
pub const DESTINATION_NAME_CHARS_MAX: usize = 256;
/// Characters of a channel's name.
pub const CHANNEL_NAME_CHARS_MAX: usize = 64;
/// Characters of the name in a reference to a secret.
pub const SECRET_NAME_CHARS_MAX: usize = 64;
/// Characters of the environment that a destination declares.
pub const ENVIRONMENT_CHARS_MAX: usize = 64;
/// Calls at a time to one destination.
pub const DESTINATION_CONCURRENCY_MAX: u16 = 256;
/// Calls at a time to one destination that names no number.
pub const DESTINATION_CONCURRENCY_DEFAULT: u16 = 16;
/// The longest time-out of a connector's request, in milliseconds.
pub const CONNECTOR_TIMEOUT_MS_MAX: u32 = 120_000;
/// The time-out of a connector's request that names none, in milliseconds.
pub const CONNECTOR_TIMEOUT_MS_DEFAULT: u32 = 10_000;
/// How long the executor's calls may go on once a node is to stop, unless its configuration says
/// otherwise, in milliseconds: the longest time-out, and a while to report.
pub const EXECUTOR_DRAIN_MS_DEFAULT: u64 = 130_000;
/// The most that a configuration may say for that, in milliseconds.
pub const EXECUTOR_DRAIN_MS_MAX: u64 = 600_000;
/// Bytes of a target's answer that are kept; more are read and dropped.
pub const CAPTURE_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a target's answer after which the connection is closed.
pub const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// How often a refused connection is tried again under one claim.
pub const CONNECT_TRIES_MAX: u32 = 5;
/// How long refused connections are tried again under one claim, in milliseconds.
pub const CONNECT_WITHIN_MS: u64 = 60_000;
/// How long a connection to a target may take to stand, name look-up and TLS included, in
/// milliseconds.
pub const CONNECT_MS_MAX: u64 = 5_000;
/// Bytes of the head of a target's answer.
pub const ANSWER_HEAD_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a URL that a request is sent to.
pub const URL_BYTES_MAX: usize = 8 * 1024;
/// Bytes of one header value that is sent to a target.
pub const HEADER_BYTES_MAX: usize = 8 * 1024;
/// Bytes of a request's body that is sent to a target.
pub const OUTBOUND_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Steps of one template; reading and writing data counts too.
pub const TEMPLATE_STEPS_MAX: u64 = 5_000_000;
/// Bytes of one secret.
pub const SECRET_BYTES_MAX: usize = 16 * 1024;
/// How long a command that prints a secret may take, in milliseconds.
pub const SECRET_WAIT_MS_MAX: u64 = 5_000;
/// Claims of one intent by the executor; after the last one without an outcome it stays in doubt.
pub const EXECUTOR_ATTEMPTS_MAX: u32 = 5;
/// Intents that one executor runs at a time.
pub const EXECUTIONS_AT_A_TIME_MAX: usize = 256;
/// Claims that one command turns into doubts when another executor takes over.
pub const TAKE_OVER_ROWS_MAX: usize = 1_000;
/// Attempts to deliver one notification; after the last it failed.
pub const DELIVERY_ATTEMPTS_MAX: u32 = 5;
/// How long one attempt to deliver a notification may take, in milliseconds.
pub const DELIVERY_TIMEOUT_MS: u64 = 8_000;
/// How long a notification's row is kept after its end, in milliseconds: 7 days.
pub const DELIVERY_KEPT_MS: u64 = 7 * 24 * 60 * 60 * 1_000;
/// Notifications on their way from one node at a time.
pub const DELIVERIES_AT_A_TIME_MAX: usize = 64;
/// Characters of the error that is kept of a failed attempt.
pub const ERROR_CHARS_MAX: usize = 300;
/// How long a join token counts that names no time, in milliseconds: one hour.
pub const JOIN_TOKEN_MS_DEFAULT: u64 = 60 * 60 * 1_000;
/// The longest time for which a join token counts, in milliseconds: 24 hours.
pub const JOIN_TOKEN_MS_MAX: u64 = 24 * 60 * 60 * 1_000;
/// How long a change of the cluster's membership may take until its outcome is unknown, in
/// milliseconds.
pub const CLUSTER_CHANGE_MS_MAX: u64 = 30_000;
