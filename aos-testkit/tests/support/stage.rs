//! The stage of the fixtures' scenarios, and where the fixtures are.

#![allow(clippy::panic, reason = "test support: what is wrong with a fixture shows at once")]

use std::path::{Path, PathBuf};

use aos_testkit::scenario::{Scenario, Stage, files};

use crate::flows::flows;

/// A file or directory below `fixtures`.
pub fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(path)
}

/// Everything that the scenarios name.
pub fn stage() -> Stage {
    Stage::new().flows(flows())
}

#[allow(dead_code, reason = "not every test target that has this file plays them all")]
/// Every scenario by name.
pub fn scenarios() -> Vec<(String, Scenario)> {
    let files = files(&fixture("scenarios"));
    files.into_iter().map(|file| (name(&file), Scenario::read(&file).unwrap_or_else(|e| panic!("{e}")))).collect()
}

#[allow(dead_code, reason = "as above")]
fn name(file: &Path) -> String {
    file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}
