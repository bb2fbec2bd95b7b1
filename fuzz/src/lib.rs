//! Fuzz targets: whatever others wrote and AOS reads, in one function for each kind of reader. A target takes any bytes,
//! and panics where a promise is broken: that nothing panics, that what is accepted is written as it was read, and that
//! reading takes no more than its bounds.
//!
//! `cargo fuzz` looks for such bytes, led by the branches that they take (`fuzz/README.md`). The test `seeds` runs every
//! target over its seeds, as they are and tampered with, and over whatever has broken a promise before.

#![allow(clippy::panic, reason = "a finding is a panic")]

mod answer;
mod audit;
mod program;
mod text;
mod values;

pub use answer::answer;
pub use audit::audit;
pub use program::{golden, journal, registry, workflow};
pub use text::{calendar, http_call, redact, settings};
pub use values::values;

/// A target.
pub type Target = fn(&[u8]);

/// All of them, by name.
pub const TARGETS: [(&str, Target); 11] = [
    ("answer", answer),
    ("audit", audit),
    ("calendar", calendar),
    ("golden", golden),
    ("http_call", http_call),
    ("journal", journal),
    ("redact", redact),
    ("registry", registry),
    ("settings", settings),
    ("values", values),
    ("workflow", workflow),
];

/// The bytes as text, the way that files and requests are read.
fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}
