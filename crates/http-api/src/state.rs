//! What all requests share: the gate, the configuration, who has how much in flight.
//!
//! Invariant: a place in flight is given back when its request ends, however it ends.

use std::collections::HashMap;
use std::sync::Arc;

use gate::Gate;
use parking_lot::Mutex;
use tokio::sync::watch;
use types::KeyId;
use types::limits::IN_FLIGHT_PER_KEY_MAX;

use crate::HttpConfig;
use crate::bodies::Bodies;
use crate::meters::Meters;
use crate::routes;

/// Shared by all requests; cheap to clone.
#[derive(Clone)]
pub(crate) struct App(Arc<Shared>);

/// Behind [`App`].
pub(crate) struct Shared {
    pub(crate) gate: Arc<Gate>,
    pub(crate) config: HttpConfig,
    pub(crate) meters: Arc<Meters>,
    pub(crate) bodies: Bodies,
    in_flight: Mutex<HashMap<KeyId, usize>>,
    stopping: watch::Sender<bool>,
}

impl std::ops::Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl App {
    pub(crate) fn new(gate: Arc<Gate>, config: HttpConfig) -> Self {
        let (stopping, _) = watch::channel(false);
        let table = routes::routes().into_iter().map(|route| (route.method, route.path));
        let meters = Meters::new(table);
        meters::BUILD_INFO.gauge(&[config.version]).set(1.0);
        let (bodies, in_flight) = (Bodies::default(), Mutex::default());
        Self(Arc::new(Shared { gate, config, meters, bodies, in_flight, stopping }))
    }

    /// Takes a place for one request of a key; `None` if the key has as many as it may.
    pub(crate) fn enter(&self, key: KeyId) -> Option<InFlight> {
        let mut in_flight = self.in_flight.lock();
        let count = in_flight.entry(key).or_insert(0);
        if *count >= IN_FLIGHT_PER_KEY_MAX {
            return None;
        }
        *count += 1;
        Some(InFlight { app: self.clone(), key, places: 1 })
    }

    /// Tells long polls to answer now.
    pub(crate) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Resolves when the door stops.
    pub(crate) async fn stopped(&self) {
        let mut stopping = self.stopping.subscribe();
        // The sender lives in `self`, so waiting ends only by the word to stop.
        let _ = stopping.wait_for(|stop| *stop).await;
    }
}

/// The places of one request: one, or as many as it has lines.
pub(crate) struct InFlight {
    app: App,
    key: KeyId,
    places: usize,
}

impl InFlight {
    /// Takes places until there are so many; false if the key would have more than it may.
    pub(crate) fn widen(&mut self, places: usize) -> bool {
        let mut in_flight = self.app.in_flight.lock();
        let count = in_flight.entry(self.key).or_insert(0);
        let more = places.saturating_sub(self.places);
        if *count + more > IN_FLIGHT_PER_KEY_MAX {
            return false;
        }
        *count += more;
        self.places += more;
        true
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut in_flight = self.app.in_flight.lock();
        if let Some(count) = in_flight.get_mut(&self.key) {
            *count -= self.places;
            if *count == 0 {
                in_flight.remove(&self.key);
            }
        }
    }
}
