//! The table itself. docs/metrics.md repeats it for users; a test compares.
//!
//! Invariant: every row is in [`ALL`], because both come from the same line.

use crate::{Kind, Metric, Unit};

/// Spans of requests and of the steps within them, in seconds.
const SPANS: &[f64] = &[
    0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    30.0, 60.0,
];
/// Spans of work on whole files, in seconds.
const LONG_SPANS: &[f64] =
    &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0];
/// How long people take, in seconds: from a second to a week.
const WAITS: &[f64] = &[
    1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 43_200.0, 86_400.0, 259_200.0, 604_800.0,
];
/// How many things went together.
const SIZES: &[f64] =
    &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0, 4_096.0, 16_384.0];
/// How many bytes went together.
const BYTES: &[f64] = &[
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
];

macro_rules! table {
    ($(
        $(#[doc = $meaning:literal])+
        $constant:ident: $kind:ident in $unit:ident $(by $buckets:ident)?,
        $name:literal [$($label:literal),*];
    )*) => {
        $(
            $(#[doc = $meaning])+
            pub const $constant: Metric = Metric {
                name: $name,
                kind: Kind::$kind,
                unit: Unit::$unit,
                labels: &[$($label),*],
                buckets: table!(@buckets $($buckets)?),
                meaning: concat!($($meaning),+),
            };
        )*
        /// Every metric, in the order of the documentation.
        pub const ALL: &[Metric] = &[$($constant),*];
    };
    (@buckets) => { &[] };
    (@buckets $buckets:ident) => { $buckets };
}

table! {
    /// Requests answered, by route, method and class of the status; `gone` for callers that left.
    HTTP_REQUESTS: Counter in Count, "gate_http_requests_total" ["route", "method", "status"];
    /// From a request's head to its answer's, long polls included; of a batch to its last line.
    HTTP_REQUEST_SECONDS: Histogram in Seconds by SPANS,
        "gate_http_request_seconds" ["route", "method"];
    /// Requests being worked on.
    HTTP_REQUESTS_IN_FLIGHT: Gauge in Count, "gate_http_requests_in_flight" [];
    /// Requests refused for want of room or of a leader: statuses 429 and 503.
    HTTP_REFUSED: Counter in Count, "gate_http_refused_total" ["status"];

    /// Commands sent to the log, by kind and by what came back. A request that is sent again
    /// inside the gate, unseen by its caller, counts as `again` each time.
    COMMANDS: Counter in Count, "gate_commands_total" ["command", "outcome"];
    /// From a command's way into the queue to its answer, whatever the answer.
    COMMAND_SECONDS: Histogram in Seconds by SPANS, "gate_command_seconds" ["command"];
    /// What policy said of the intents that were submitted here. Replayed answers do not count.
    DECISIONS: Counter in Count, "gate_decisions_total" ["outcome"];
    /// Commands without an answer of the ledger, by why there was none.
    COMMANDS_FAILED: Counter in Count, "gate_commands_failed_total" ["reason"];

    /// Bytes of the large commands that this node packed for the log, before and after that.
    PACKED_BYTES: Counter in Bytes, "gate_packed_bytes_total" ["form"];

    /// Commands recognised as asked for before: inside of a dedup window, under an
    /// `idempotency_key` of the body, or under an `Idempotency-Key` header, which replays.
    DEDUP_HITS: Counter in Count, "gate_dedup_hits_total" ["kind"];
    /// From the submit of an intent to the word of people that allowed or rejected it.
    APPROVAL_WAIT_SECONDS: Histogram in Seconds by WAITS, "gate_approval_wait_seconds" ["outcome"];

    /// Intents by what they are now, over all namespaces.
    INTENTS: Gauge in Count, "gate_intents" ["phase"];
    /// Leaves of the audit tree.
    AUDIT_TREE_SIZE: Gauge in Count, "gate_audit_tree_size" [];
    /// Namespaces.
    NAMESPACES: Gauge in Count, "gate_namespaces" [];
    /// The feature level in force.
    FEATURE_LEVEL: Gauge in Count, "gate_feature_level" [];
    /// How long the oldest deadline has been over without being worked off; 0 if none is.
    DUE_AGE_SECONDS: Gauge in Seconds, "gate_due_age_seconds" [];
    /// How long the intent that has been in doubt longest has been so; 0 if none is. Of one
    /// namespace the 1,000 newest are looked at.
    IN_DOUBT_AGE_SECONDS: Gauge in Seconds, "gate_in_doubt_age_seconds" [];

    /// 1 if this node serves: neither stopping nor stopped by a fault.
    HEALTHY: Gauge in Count, "gate_healthy" [];
    /// 1 if this node knows a leader.
    HAS_LEADER: Gauge in Count, "gate_has_leader" [];
    /// 1 if this node leads.
    IS_LEADER: Gauge in Count, "gate_is_leader" [];
    /// Leaders this node has seen begin to lead, itself included.
    LEADER_CHANGES: Counter in Count, "gate_leader_changes_total" [];
    /// Times this node gave the lead away for its disk's sake, or had to and found nobody.
    LEAD_GIVEN_AWAY: Counter in Count, "gate_lead_given_away_total" ["why"];
    /// Other voters to which a round trip takes too long for the profile of this node.
    VOTERS_TOO_FAR: Gauge in Count, "gate_voters_too_far" [];
    /// The term this node is in.
    TERM: Gauge in Count, "gate_term" [];
    /// Nodes that vote.
    VOTERS: Gauge in Count, "gate_voters" [];
    /// Nodes that only learn.
    LEARNERS: Gauge in Count, "gate_learners" [];
    /// Index of the last entry in this node's log.
    LAST_LOG_INDEX: Gauge in Count, "gate_last_log_index" [];
    /// Index of the last entry known to be committed.
    COMMITTED_INDEX: Gauge in Count, "gate_committed_index" [];
    /// Index of the last entry in this node's ledger.
    APPLIED_INDEX: Gauge in Count, "gate_applied_index" [];
    /// Committed entries that are not yet applied here.
    APPLY_LAG: Gauge in Count, "gate_apply_lag" [];
    /// Index of the last entry in the newest snapshot.
    SNAPSHOT_INDEX: Gauge in Count, "gate_snapshot_index" [];
    /// Index up to which the log was purged.
    PURGED_INDEX: Gauge in Count, "gate_purged_index" [];
    /// How long ago a majority last answered this leader; not a number on other nodes, nor where
    /// the leader votes alone.
    QUORUM_ACK_AGE_SECONDS: Gauge in Seconds, "gate_quorum_ack_age_seconds" [];
    /// How far the leader's clock is ahead of the wall clock; not a number on other nodes.
    CLOCK_OFFSET_SECONDS: Gauge in Seconds, "gate_clock_offset_seconds" [];
    /// How far the middle of the voters' clocks, its own among them, is ahead of this node's wall
    /// clock; beyond half a second it does not lead.
    CLOCK_MEDIAN_OFFSET_SECONDS: Gauge in Seconds, "gate_clock_median_offset_seconds" [];
    /// 1 if this node votes, 0 if it only learns.
    IS_VOTER: Gauge in Count, "gate_is_voter" [];
    /// Times this node, as the leader, was to let another one lead, by how that went.
    LEADER_TRANSFERS: Counter in Count, "gate_leader_transfers_total" ["outcome"];
    /// How long until the certificate of this node ends, and until no authority that it believes
    /// is left; negative once that is over.
    CERTIFICATE_EXPIRY_SECONDS: Gauge in Seconds,
        "gate_certificate_expiry_seconds" ["certificate"];

    /// Times this node found its state to differ from that of the majority, or was started again
    /// after that; it is out of service then.
    STATE_HASH_MISMATCHES: Counter in Count, "gate_state_hash_mismatch_total" [];

    /// Entries of the leader's log that are not known to be in the peer's; on the leader alone.
    PEER_REPLICATION_LAG: Gauge in Count, "gate_peer_replication_lag" ["peer"];
    /// 1 if the peer votes, 0 if it only learns.
    PEER_IS_VOTER: Gauge in Count, "gate_peer_is_voter" ["peer"];
    /// 1 if the peer answered in the last five seconds and said that it serves.
    PEER_IS_HEALTHY: Gauge in Count, "gate_peer_is_healthy" ["peer"];
    /// How long ago the peer last answered this node, which asks twice a second; of one that never
    /// did, since this node began to ask.
    PEER_CONTACT_AGE_SECONDS: Gauge in Seconds, "gate_peer_contact_age_seconds" ["peer"];
    /// There and back, when the peer last answered; not there once that is five seconds ago.
    PEER_ROUND_TRIP_SECONDS: Gauge in Seconds, "gate_peer_round_trip_seconds" ["peer"];
    /// How far the peer's wall clock is ahead of this node's; not there once the peer is silent
    /// for five seconds.
    PEER_CLOCK_OFFSET_SECONDS: Gauge in Seconds, "gate_peer_clock_offset_seconds" ["peer"];
    /// Heartbeats of this node, as the leader, that the peer did not answer in time.
    PEER_HEARTBEAT_FAILURES: Counter in Count, "gate_peer_heartbeat_failures_total" ["peer"];
    /// 1 while a snapshot is on its way from this node to the peer.
    PEER_SNAPSHOT_SENDING: Gauge in Count, "gate_peer_snapshot_sending" ["peer"];

    /// Commands that wait for the log.
    QUEUE_COMMANDS: Gauge in Count, "gate_queue_commands" [];
    /// Bytes of commands that wait for the log.
    QUEUE_BYTES: Gauge in Bytes, "gate_queue_bytes" [];
    /// Commands in one proposed entry.
    BATCH_COMMANDS: Histogram in Count by SIZES, "gate_batch_commands" [];
    /// Bytes of one proposed entry.
    BATCH_BYTES: Histogram in Bytes by BYTES, "gate_batch_bytes" [];
    /// One round to the majority that makes reads fresh.
    READ_INDEX_SECONDS: Histogram in Seconds by SPANS, "gate_read_index_seconds" [];
    /// Reads that one such round served.
    READ_ROUND_READS: Histogram in Count by SIZES, "gate_read_round_reads" [];
    /// Bytes of entries that are sent to other nodes and not confirmed, over all of them.
    REPLICATION_HELD_BYTES: Gauge in Bytes, "gate_replication_held_bytes" [];
    /// Applying one run of entries: judging them and writing what they change.
    APPLY_SECONDS: Histogram in Seconds by SPANS, "gate_apply_seconds" [];
    /// Entries applied in one write of the state.
    APPLY_ENTRIES: Histogram in Count by SIZES, "gate_apply_entries" [];

    /// One sync of the log to the disk; its count is the number of syncs.
    WAL_FSYNC_SECONDS: Histogram in Seconds by SPANS, "gate_wal_fsync_seconds" [];
    /// Entries that one sync made durable; 0 for a sync of a vote, a truncate or a purge.
    WAL_BATCH_ENTRIES: Histogram in Count by SIZES, "gate_wal_batch_entries" [];
    /// Bytes of entries that one sync made durable, frames included.
    WAL_BATCH_BYTES: Histogram in Bytes by BYTES, "gate_wal_batch_bytes" [];
    /// How long the sync of the log that runs now has taken so far; 0 while none runs.
    WAL_STALL_SECONDS: Gauge in Seconds, "gate_wal_stall_seconds" [];
    /// How long a sync of the log usually takes: the median over ten seconds of what each half took
    /// on average; not a number while there is nothing to sync.
    WAL_FSYNC_USUAL_SECONDS: Gauge in Seconds, "gate_wal_fsync_usual_seconds" [];
    /// Entries appended to the log.
    WAL_ENTRIES: Counter in Count, "gate_wal_entries_total" [];
    /// Bytes of entries appended to the log, frames included.
    WAL_BYTES: Counter in Bytes, "gate_wal_bytes_total" [];
    /// Writes of the mark that tells a restart how far the log was synced; each is a sync too.
    WAL_MARKS: Counter in Count, "gate_wal_marks_total" [];
    /// 1 if the log refused to go on after a failed write.
    POISONED: Gauge in Count, "gate_poisoned" [];
    /// Stored bytes that came back with another checksum than they were written with.
    CHECKSUM_FAILURES: Counter in Count, "gate_checksum_failures_total" [];
    /// Bytes that may still be written to the file system of the data directory.
    DISK_FREE_BYTES: Gauge in Bytes, "gate_disk_free_bytes" [];
    /// Bytes of that which are kept back: with less, nothing new is taken.
    DISK_RESERVE_BYTES: Gauge in Bytes, "gate_disk_reserve_bytes" [];
    /// Bytes of that below which the node stops.
    DISK_STOP_BYTES: Gauge in Bytes, "gate_disk_stop_bytes" [];
    /// Bytes of the file system of the data directory.
    DISK_SIZE_BYTES: Gauge in Bytes, "gate_disk_size_bytes" [];
    /// Bytes that the data directory takes, its ballast aside, counted every five seconds.
    DISK_USED_BYTES: Gauge in Bytes, "gate_disk_used_bytes" [];
    /// Bytes that the data directory may take: with more, nothing new is taken; not a number where
    /// the configuration names none.
    DISK_QUOTA_BYTES: Gauge in Bytes, "gate_disk_quota_bytes" [];
    /// Bytes that deleting the ballast gives back; 0 if there is none.
    DISK_BALLAST_BYTES: Gauge in Bytes, "gate_disk_ballast_bytes" [];
    /// 1 while this node's disk has no room for new things.
    DISK_FULL: Gauge in Count, "gate_disk_full" [];
    /// 1 while syncs of this node's log take long, and much longer than those of another node.
    DISK_SLOW: Gauge in Count, "gate_disk_slow" [];
    /// 1 while a sync of this node's log does not end: it neither votes nor leads.
    DISK_STUCK: Gauge in Count, "gate_disk_stuck" [];
    /// The write of one applied run of entries; a part of `gate_apply_seconds`.
    STATE_WRITE_SECONDS: Histogram in Seconds by SPANS, "gate_state_write_seconds" [];
    /// One flush of the state to the disk.
    STATE_FLUSH_SECONDS: Histogram in Seconds by LONG_SPANS, "gate_state_flush_seconds" [];
    /// Making one snapshot; its count is the number of snapshots made.
    SNAPSHOT_BUILD_SECONDS: Histogram in Seconds by LONG_SPANS, "gate_snapshot_build_seconds" [];
    /// Installing one snapshot that came from another node.
    SNAPSHOT_INSTALL_SECONDS: Histogram in Seconds by LONG_SPANS,
        "gate_snapshot_install_seconds" [];
    /// Sending one snapshot to another node, until it was installed there.
    SNAPSHOT_SEND_SECONDS: Histogram in Seconds by LONG_SPANS, "gate_snapshot_send_seconds" [];
    /// Bytes of the newest snapshot's files; 0 before the first.
    SNAPSHOT_BYTES: Gauge in Bytes, "gate_snapshot_bytes" [];
    /// Keys, as the database estimates them.
    ROCKSDB_KEYS: Gauge in Count, "gate_rocksdb_keys" ["database"];
    /// Bytes of all table files.
    ROCKSDB_SST_BYTES: Gauge in Bytes, "gate_rocksdb_sst_bytes" ["database"];
    /// Bytes of memtables, those that wait for a flush included.
    ROCKSDB_MEMTABLE_BYTES: Gauge in Bytes, "gate_rocksdb_memtable_bytes" ["database"];
    /// Memtables that wait for a flush.
    ROCKSDB_IMMUTABLE_MEMTABLES: Gauge in Count, "gate_rocksdb_immutable_memtables" ["database"];
    /// Bytes that the block cache holds.
    ROCKSDB_BLOCK_CACHE_BYTES: Gauge in Bytes, "gate_rocksdb_block_cache_bytes" ["database"];
    /// Bytes that compaction has yet to rewrite, as the database estimates them.
    ROCKSDB_PENDING_COMPACTION_BYTES: Gauge in Bytes,
        "gate_rocksdb_pending_compaction_bytes" ["database"];

    /// Calls of the executor that ended, by the kind of destination and by what is known of them.
    EXECUTIONS: Counter in Count, "gate_executions_total" ["kind", "outcome"];
    /// From a claim to what its call came to, tries of connections included.
    EXECUTION_SECONDS: Histogram in Seconds by SPANS, "gate_execution_seconds" ["kind"];
    /// Intents that the executor is at work on now.
    EXECUTIONS_RUNNING: Gauge in Count, "gate_executions_running" [];
    /// Intents that are not claimed because this node cannot have a secret of their destination.
    EXECUTIONS_WITHOUT_SECRET: Gauge in Count, "gate_executions_without_secret" [];
    /// Log index at which this node's executor began; 0 while it does not run.
    EXECUTOR_EPOCH: Gauge in Count, "gate_executor_epoch" [];
    /// Claims of this node's executor that were refused, since another had begun.
    FENCE_REJECTIONS: Counter in Count, "gate_fence_rejections_total" [];
    /// Attempts to deliver a notification, by who was to get it and by how that went.
    DELIVERY_ATTEMPTS: Counter in Count, "gate_delivery_attempts_total" ["receiver", "outcome"];
    /// Notifications that were given up after their last attempt.
    DELIVERIES_GIVEN_UP: Counter in Count, "gate_deliveries_given_up_total" ["receiver"];
    /// One attempt to deliver a notification.
    DELIVERY_SECONDS: Histogram in Seconds by SPANS, "gate_delivery_seconds" ["receiver"];
    /// Notifications on their way now.
    DELIVERIES_RUNNING: Gauge in Count, "gate_deliveries_running" [];
    /// Secrets that were asked for in vain, by who asked; each is asked for again and again.
    SECRETS_UNAVAILABLE: Counter in Count, "gate_secrets_unavailable_total" ["by"];

    /// 1, with the version of the build as its label.
    BUILD_INFO: Gauge in Count, "gate_build_info" ["version"];
    /// Processor time of the process, in whole seconds.
    PROCESS_CPU_SECONDS: Counter in Seconds, "gate_process_cpu_seconds_total" [];
    /// When the process started, in seconds since the Unix epoch.
    PROCESS_START_TIME_SECONDS: Gauge in Seconds, "gate_process_start_time_seconds" [];
    /// Memory of the process that is in RAM.
    PROCESS_RESIDENT_MEMORY_BYTES: Gauge in Bytes, "gate_process_resident_memory_bytes" [];
    /// Memory the process has mapped.
    PROCESS_VIRTUAL_MEMORY_BYTES: Gauge in Bytes, "gate_process_virtual_memory_bytes" [];
    /// Files and sockets the process has open.
    PROCESS_OPEN_FDS: Gauge in Count, "gate_process_open_fds" [];
    /// Files and sockets the process may have open; 0 for no limit.
    PROCESS_MAX_FDS: Gauge in Count, "gate_process_max_fds" [];
    /// Threads of the process.
    PROCESS_THREADS: Gauge in Count, "gate_process_threads" [];
}
