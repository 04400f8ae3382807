//! Looks at the files from time to time, and tells of what is new, once.
//!
//! Polling sees every way in which files are replaced, links and mounts included, and needs
//! nothing of the file system; three small files cost it nothing.
//! Invariant: one line for each change, one for each error that is not the one told last.

use std::sync::Arc;
use std::time::Duration;

use machine::blocking;
use tokio::time::sleep;

use crate::error::TlsError;
use crate::identity::Identity;

/// The shortest time between two looks.
const EVERY_MIN: Duration = Duration::from_millis(100);

impl Identity {
    /// Reloads after every such time, and logs changes and new errors. Never ends: its owner drops
    /// it.
    pub fn watch(self: &Arc<Self>, every: Duration) -> impl Future<Output = ()> + Send + use<> {
        let identity = Arc::clone(self);
        async move {
            let mut told = Told::default();
            loop {
                sleep(every.max(EVERY_MIN)).await;
                let reader = Arc::clone(&identity);
                // A disk may be slow, and this thread may serve requests.
                let result = blocking(move || reader.reload()).await;
                let result = result.unwrap_or_else(|error| {
                    Err(TlsError::Unusable(format!("reading the files failed ({error})")))
                });
                log(&identity, told.news(result));
            }
        }
    }
}

/// What is worth a line.
#[derive(Debug, PartialEq)]
enum News {
    Nothing,
    Changed,
    Failed(TlsError),
    /// The files are again what is in force.
    Mended,
}

/// The error that was told last, while it lasts.
#[derive(Default)]
struct Told(Option<TlsError>);

impl Told {
    fn news(&mut self, result: Result<bool, TlsError>) -> News {
        match result {
            Ok(changed) => match (changed, self.0.take()) {
                (true, _) => News::Changed,
                (false, Some(_)) => News::Mended,
                (false, None) => News::Nothing,
            },
            Err(error) if self.0.as_ref() == Some(&error) => News::Nothing,
            Err(error) => {
                self.0 = Some(error.clone());
                News::Failed(error)
            }
        }
    }
}

fn log(identity: &Identity, news: News) {
    let (node, expires_at) = (identity.name(), identity.expires_at());
    match news {
        News::Nothing => {}
        News::Changed => {
            tracing::info!(%node, expires_at, "new certificates are in force for new connections");
        }
        News::Failed(error) => {
            tracing::error!(%node, expires_at, %error, "the old certificates stay in force");
        }
        News::Mended => {
            tracing::info!(%node, expires_at, "the files of the certificates are in order again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_new_thing_is_told_once() {
        let error = |text: &str| TlsError::Unusable(text.into());
        let rounds = [
            (Ok(false), News::Nothing),
            (Err(error("a")), News::Failed(error("a"))),
            (Err(error("a")), News::Nothing),
            (Err(error("b")), News::Failed(error("b"))),
            (Err(error("a")), News::Failed(error("a"))),
            (Ok(false), News::Mended),
            (Ok(false), News::Nothing),
            (Err(error("a")), News::Failed(error("a"))),
            (Ok(true), News::Changed),
            (Err(error("a")), News::Failed(error("a"))),
        ];
        let mut told = Told::default();
        for (round, (result, expected)) in rounds.into_iter().enumerate() {
            assert_eq!(told.news(result), expected, "round {round}");
        }
    }
}
