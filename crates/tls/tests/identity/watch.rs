//! The watch: files that change come into force by themselves, and each new thing is told once.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tls::authority::Authority;
use tokio::time::{sleep, timeout};
use tracing_subscriber::fmt::MakeWriter;

use crate::place::{identity, node};

const EVERY: Duration = Duration::from_secs(10);

/// The clock stands still while files are read, and else runs ahead to the next look.
#[tokio::test(start_paused = true)]
async fn changes_and_new_errors_are_told_once() {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt().with_writer(lines.clone()).with_ansi(false).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let authority = Authority::make("Test").unwrap();
    let (place, one) = identity(&authority, &node(1));
    let watch = tokio::spawn(one.watch(EVERY));

    lines.after(3, "").await;
    place.write("node.key", "");
    lines.after(3, "ERROR tls::watch: the old certificates stay in force").await;
    assert!(lines.last().contains("holds no private key"), "{}", lines.last());
    place.write_pair(&authority.issue(&node(2), &[], 30).unwrap());
    lines.after(3, "ERROR tls::watch: the old certificates stay in force").await;
    assert!(lines.last().contains("it is for node-2."), "{}", lines.last());
    let before = one.expires_at();
    place.write_pair(&authority.issue(&node(1), &[], 60).unwrap());
    lines.after(3, "INFO tls::watch: new certificates are in force for new connections").await;
    assert!(one.expires_at() > before);
    assert!(lines.last().contains(&format!("expires_at={}", one.expires_at())), "{}", lines.last());

    assert!(!watch.is_finished());
    watch.abort();
}

/// The lines of the log.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    /// Lets so many looks pass; if something is expected they told exactly one line, and that.
    async fn after(&self, looks: u32, expected: &str) {
        let before = self.0.lock().unwrap().len();
        let looked = timeout(EVERY * (looks + 1), sleep(EVERY * looks + EVERY / 2)).await;
        looked.unwrap();
        let new = self.0.lock().unwrap()[before..].to_vec();
        if expected.is_empty() {
            assert!(new.is_empty(), "{new:?}");
        } else {
            assert_eq!(new.len(), 1, "{new:?}");
            assert!(new[0].contains(expected), "{new:?}");
        }
    }

    fn last(&self) -> String {
        self.0.lock().unwrap().last().cloned().unwrap_or_default()
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().push(String::from_utf8_lossy(bytes).into_owned());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
