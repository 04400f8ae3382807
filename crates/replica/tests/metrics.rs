//! What a node tells of its consensus: batches, applied runs, and where its log stands.

mod common;

use common::{bootstrap, config, create_namespace, propose, start};
use futures::future::join_all;
use gate::log::{Consistency, Log as _};
use metrics_exporter_prometheus::PrometheusBuilder;
use types::LogIndex;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_counts_what_it_proposes_and_applies() {
    let dir = tempfile::tempdir().expect("dir");
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let replica = {
        // Every handle is made before the start waits for anything, so on this thread.
        let _recording = metrics::set_default_local_recorder(&recorder);
        start(config(dir.path())).await
    };
    propose(&replica, bootstrap()).await;
    let proposals = (2..102).map(|number| propose(&replica, create_namespace(number)));
    let last = join_all(proposals).await.iter().map(|answer| answer.index).max();
    let last = last.expect("answers");
    let point = replica.read_point(Consistency::Linearizable, LogIndex(0)).await.expect("fresh");
    assert!(point.index >= last);
    replica.sample();
    let text = handle.render();
    let value = |series: &str| -> f64 {
        let start = format!("{series} ");
        let found = text.lines().find_map(|line| line.strip_prefix(&start));
        found.unwrap_or_else(|| panic!("no {series} in\n{text}")).parse().expect("a number")
    };
    assert_eq!(value("gate_batch_commands_sum"), 101.0);
    assert!(value("gate_batch_commands_count") <= 101.0);
    assert_eq!(value("gate_last_log_index"), meters::number(last.0));
    assert_eq!(value("gate_apply_entries_sum"), meters::number(last.0 + 1), "from entry 0 on");
    assert_eq!(value("gate_apply_seconds_count"), value("gate_apply_entries_count"));
    assert_eq!(value("gate_wal_entries_total"), meters::number(last.0 + 1));
    assert_eq!(value("gate_read_round_reads_sum"), 1.0);
    assert_eq!(value("gate_leader_changes_total"), 1.0);
    assert_eq!((value("gate_queue_commands"), value("gate_queue_bytes")), (0.0, 0.0));
    assert_eq!((value("gate_snapshot_index"), value("gate_purged_index")), (0.0, 0.0));
    assert!(value("gate_quorum_ack_age_seconds").is_nan(), "it votes alone");
    assert!(value("gate_clock_offset_seconds").abs() < 60.0, "the leader's clock is a clock");
    replica.shutdown().await;
}
