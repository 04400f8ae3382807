//! A disk that fills: below the reserve nothing new is taken and all else goes on, and what is
//! freed is used again.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use client::{Decision, Error, Refusal};
use serde_json::json;
use tempfile::TempDir;

use crate::support::node::{NO_BALLAST, Node, eventually, refusal};

const MIB: u32 = 1_048_576;

/// What a submit is refused with; `None` if it is taken.
async fn refused(node: &Node) -> Option<Box<Refusal>> {
    let intent = json!({ "resource": "crm.contacts", "payload": { "id": 2 } });
    match node.agent.submit(&intent, None).await {
        Ok(_) => None,
        Err(Error::Refused(refusal)) => Some(refusal),
        Err(other) => panic!("{other}"),
    }
}

/// Nothing new is taken, and all else goes on.
async fn goes_on_without_new_things(node: &Node, held: &str) {
    let refused = refused(node).await.expect("nothing new is taken");
    assert!(refused.status == 507 && refused.is("disk_quota"), "{refused}");
    assert_eq!(refused.body["outcome"], "none", "{refused}");
    let policies = json!({ "policies": {} });
    let refused = refusal(node.admin.put(&["v1", "policies"], &policies).await);
    assert!(refused.is("disk_quota"), "{refused}");
    let body = json!({ "name": "another", "role": "agent" });
    let refused = refusal(node.admin.post(&["v1", "agents", "register"], &body).await);
    assert!(refused.is("disk_quota"), "{refused}");

    assert_eq!(node.agent.intent(held).await.unwrap().status, 200);
    node.reviewer.approve(held, &Decision::default()).await.unwrap();
    let order = node.agent.execute(held, None).await.unwrap();
    let report = ["v1", "executions", order.text("executionId").unwrap(), "report"];
    let done = json!({ "status": "succeeded" });
    let token = order.text("execution_token").unwrap();
    let request = client::Request::post(&report, &done).anonymous();
    let request = request.header("Authorization", format!("Bearer {token}"));
    node.agent.send(request).await.unwrap();
    node.in_phase(held, "succeeded").await;
    assert_eq!(node.metric("gate_disk_full"), 1.0);
    assert!(node.metric("gate_commands_failed_total{reason=\"disk_quota\"}") >= 3.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn below_the_reserve_nothing_new_is_taken_until_there_is_room_again() {
    let home = TempDir::new().unwrap();
    let mut node = Node::start(home.path(), "").await;
    let held = node.submit("crm.contacts", json!({ "id": 1 })).await;
    assert_eq!(node.metric("gate_disk_full"), 0.0);
    assert!(node.metric("gate_disk_free_bytes") > node.metric("gate_disk_reserve_bytes"));
    node.stop();
    // More than any disk has.
    let line = format!("disk_reserve_bytes: {}\n", 1_u64 << 60);
    node.configure(|text| text + &line);
    node.start_again().await;
    goes_on_without_new_things(&node, &held).await;
    node.stop();
    assert_eq!(node.log().matches("disk_quota").count(), 1, "{}", node.log());
    node.configure(|text| text.replace(&line, ""));
    node.start_again().await;
    assert!(refused(&node).await.is_none());
    node.stop();
}

/// A small file system of its own.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where this process may not mount one.
    fn mounted(at: &Path, mib: usize) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let size = format!("size={mib}m");
        let mut mount = Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at).output();
        let mounted = mounted.is_ok_and(|output| output.status.success());
        mounted.then(|| Self(at.to_owned()))
    }
}

impl SmallDisk {
    fn free(&self) -> u64 {
        rustix::fs::statvfs(&self.0).map(|disk| disk.f_bavail * disk.f_frsize).unwrap()
    }

    /// Fills it, a mebibyte at a time, until so many are left. Gives the file that does.
    fn fill(&self, mib_left: u32) -> PathBuf {
        let path = self.0.join("filler");
        let mut file = fs::File::create(&path).unwrap();
        while self.free() > u64::from(mib_left * MIB) {
            file.write_all(&[0; 1_048_576]).unwrap();
        }
        // An open file would keep its space when it is removed.
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a process of a failed test may still hold it for a moment.
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_disk_that_fills_is_full_before_its_end_and_has_room_when_some_is_freed() {
    let home = TempDir::new().unwrap();
    let data = home.path().join("data");
    let Some(disk) = SmallDisk::mounted(&data, 256) else {
        println!("skipped: this process may not mount a file system");
        return;
    };
    let mut node = Node::start(home.path(), "").await;
    assert_eq!(node.metric("gate_disk_reserve_bytes"), f64::from(64 * MIB), "a quarter of it");
    let held = node.submit("crm.contacts", json!({ "id": 1 })).await;
    // Half of the reserve is left.
    let filler = disk.fill(32);
    eventually("the disk is full", || refused(&node)).await;
    goes_on_without_new_things(&node, &held).await;
    let ready = node.ready_body().await;
    assert_eq!(ready, json!({ "status": "ok", "degraded": ["takes_new", "disk_has_room"] }));
    fs::remove_file(&filler).unwrap();
    eventually("there is room", || async { refused(&node).await.is_none().then_some(()) }).await;
    node.stop();
    drop(disk);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_to_its_end_stops_the_node_and_the_ballast_lets_it_start_again() {
    let home = TempDir::new().unwrap();
    let data = home.path().join("data");
    let Some(disk) = SmallDisk::mounted(&data, 256) else {
        println!("skipped: this process may not mount a file system");
        return;
    };
    let mut node = Node::start(home.path(), "").await;
    let held = node.submit("crm.contacts", json!({ "id": 1 })).await;
    let ballast = data.join("ballast");
    assert!(!ballast.exists(), "none was asked for");
    node.stop();
    node.configure(|text| text.replace(NO_BALLAST, ""));
    node.start_again().await;
    assert_eq!(node.metric("gate_disk_ballast_bytes"), f64::from(32 * MIB));
    assert_eq!(node.metric("gate_disk_stop_bytes"), f64::from(8 * MIB));
    assert_eq!(fs::metadata(&ballast).unwrap().len(), u64::from(32 * MIB));

    let filler = disk.fill(4);
    assert_eq!(node.ended(), Some(5), "{}", node.log());
    let says = format!("delete {}", ballast.display());
    assert!(node.log().contains(&says), "{}", node.log());
    // Whoever starts it again is told the same, and nothing is touched.
    let again = node.serve_alone();
    assert_eq!(again.status.code(), Some(5), "{again:?}");
    assert!(String::from_utf8_lossy(&again.stderr).contains(&says), "{again:?}");

    fs::remove_file(&ballast).unwrap();
    node.start_again().await;
    eventually("the disk is full", || refused(&node)).await;
    goes_on_without_new_things(&node, &held).await;
    fs::remove_file(&filler).unwrap();
    eventually("there is room", || async { refused(&node).await.is_none().then_some(()) }).await;
    eventually("the ballast is there again", || async {
        (node.metric("gate_disk_ballast_bytes") > 0.0).then_some(())
    })
    .await;
    node.stop();
    drop(disk);
}

#[tokio::test(flavor = "multi_thread")]
async fn data_beyond_its_quota_takes_nothing_new() {
    let home = TempDir::new().unwrap();
    let mut node = Node::start(home.path(), "disk_quota_bytes: 268435456\n").await;
    let held = node.submit("crm.contacts", json!({ "id": 1 })).await;
    assert!(node.metric("gate_disk_used_bytes") < node.metric("gate_disk_quota_bytes"));
    node.stop();
    // It counts what lies there, whatever that is.
    let filler = home.path().join("data").join("filler");
    let file = fs::File::create(&filler).unwrap();
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, 268_435_456).unwrap();
    drop(file);
    node.start_again().await;
    goes_on_without_new_things(&node, &held).await;
    fs::remove_file(&filler).unwrap();
    eventually("there is room", || async { refused(&node).await.is_none().then_some(()) }).await;
    node.stop();
}
