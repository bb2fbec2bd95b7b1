//! Operators' switches, as every process obeys them: read from the store all the time, and from the settings once.
//!
//! A switch that settings turn on stays on, whatever the store says. While the store can't be read, live adapters count as
//! switched off: nobody knows whether an operator has just done that.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aos_core::llm::Switches;
use aos_core::runs::StoreError;
use aos_core::switches::{Switch, SwitchStore};
use aos_core::time::Clock;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::telemetry::log;
use crate::worker::Worker;

/// How often the switches are read.
const LOOK: Duration = Duration::from_millis(500);

/// How long what was read last holds good: turning a switch has an effect everywhere within 2 s.
const TRUSTED: Duration = Duration::from_millis(1_500);

/// What keeps this process's adapters and worker at what the switches say. Cheap to clone.
#[derive(Clone)]
pub struct Switchboard {
    store: Arc<dyn SwitchStore>,
    /// The store's.
    clock: Arc<dyn Clock>,
    adapters: Arc<Switches>,
    worker: Worker,
    /// What settings turned on.
    settings: (bool, bool),
    look: Arc<Notify>,
}

impl Switchboard {
    /// Turns `adapters` and `worker` as `store` says, from [`Switchboard::read`] on. What is on in `adapters` now was
    /// turned on by settings.
    pub fn new(store: Arc<dyn SwitchStore>, clock: Arc<dyn Clock>, adapters: Arc<Switches>, worker: Worker) -> Self {
        let settings = (adapters.disable_live_adapters(), adapters.force_stub_adapter());
        Self { store, clock, adapters, worker, settings, look: Arc::default() }
    }

    /// Where the switches are kept.
    pub fn store(&self) -> &dyn SwitchStore {
        &*self.store
    }

    /// Says that a switch may have been turned.
    pub fn look(&self) {
        self.look.notify_one();
    }

    /// Reads the switches and obeys them.
    ///
    /// # Errors
    /// A store that fails; nothing has changed then.
    pub async fn read(&self) -> Result<(), StoreError> {
        let turned = self.store.load().await?;
        let now = self.clock.now();
        let is_on = |switch| turned.iter().any(|change| change.switch == switch && change.is_on(now));
        let (adapters, (disable_live, force_stub)) = (&self.adapters, self.settings);
        adapters.set_disable_live_adapters(disable_live || is_on(Switch::DisableLiveAdapters));
        adapters.set_force_stub_adapter(force_stub || is_on(Switch::ForceStubAdapter));
        self.worker.pause_claims(is_on(Switch::PauseClaims));
        log::set_debug(is_on(Switch::DebugLogging));
        adapters.set_unreadable(false);
        Ok(())
    }

    /// Reads them again and again, until `done`.
    pub async fn follow(self, done: CancellationToken) {
        let mut read_at = Instant::now();
        loop {
            tokio::select! {
                () = done.cancelled() => return,
                () = self.look.notified() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
            let patience = TRUSTED.saturating_sub(read_at.elapsed()).max(LOOK);
            match tokio::time::timeout(patience, self.read()).await {
                Ok(Ok(())) => read_at = Instant::now(),
                failed => self.distrust(read_at, failed.ok().and_then(Result::err)),
            }
        }
    }

    fn distrust(&self, read_at: Instant, error: Option<StoreError>) {
        if read_at.elapsed() < TRUSTED || self.adapters.unreadable() {
            return;
        }
        self.adapters.set_unreadable(true);
        let why = error.map_or_else(|| "no answer in time".to_owned(), |error| error.to_string());
        tracing::warn!(why, "the switches can't be read: live model adapters are off until they can");
    }
}
