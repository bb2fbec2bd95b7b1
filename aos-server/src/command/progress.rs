//! Progress of a one-shot run, drawn to a terminal.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aos_core::driver::Observer;
use aos_core::journal::Line;
use aos_core::runs::Lease;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;

use super::ui::Ui;

/// A bar of effects: how many are done of those asked for so far.
pub struct Progress {
    bar: ProgressBar,
    requested: AtomicU64,
}

impl Progress {
    /// Draws to standard error when people are watching it, and nothing otherwise.
    pub fn new(ui: &Ui) -> Self {
        let bar = if ui.draws_progress() { ProgressBar::new(0) } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {bar:30} {pos}/{len} effects  {elapsed}  {msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Self { bar, requested: AtomicU64::new(0) }
    }

    /// Takes the bar off the screen.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// What of an entry the bar shows.
#[derive(Deserialize)]
struct Shown<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(default, borrow)]
    effect: Option<Cow<'a, str>>,
}

impl Observer for Progress {
    fn appended(&self, _lease: &Lease, lines: &[Line]) {
        if self.bar.is_hidden() {
            return;
        }
        for shown in lines.iter().filter_map(|line| serde_json::from_str::<Shown<'_>>(line.as_str()).ok()) {
            match &*shown.kind {
                "effect_requested" => {
                    self.bar.set_length(self.requested.fetch_add(1, Ordering::Relaxed) + 1);
                    self.bar.set_message(shown.effect.unwrap_or_default().into_owned());
                }
                "effect_completed" | "effect_failed" => self.bar.inc(1),
                _ => {}
            }
        }
    }
}
