//! The promises about dependencies: the core is small and does no I/O, and crates depend on each other in one direction.

#![allow(clippy::expect_used, reason = "helpers of tests say what must hold by panicking")]
#![allow(
    clippy::disallowed_methods,
    reason = "this test runs cargo and reads manifests; the ban is for the core itself"
)]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// The most crates in the core's default tree, itself included.
const MAX_CRATES: usize = 45;

/// Crates that do I/O, bring a runtime, read a clock or tie the core to a backend; each stands for its family.
const FORBIDDEN: &[&str] = &[
    "actix-web",
    "async-io",
    "async-std",
    "aws-lc-rs",
    "axum",
    "chrono",
    "diesel",
    "fastrand",
    "getrandom",
    "h2",
    "hyper",
    "hyper-util",
    "isahc",
    "libsqlite3-sys",
    "log4rs",
    "mio",
    "native-tls",
    "openssl",
    "opentelemetry",
    "opentelemetry_sdk",
    "polling",
    "prometheus",
    "rand",
    "redis",
    "reqwest",
    "ring",
    "rusqlite",
    "rustls",
    "smol",
    "socket2",
    "sqlx",
    "sqlx-core",
    "surf",
    "tempfile",
    "time",
    "tokio",
    "tokio-postgres",
    "tonic",
    "tower",
    "tracing",
    "tracing-subscriber",
    "ureq",
    "uuid",
];

/// Which crates of the workspace each may depend on in the normal build.
const DIRECTION: &[(&str, &[&str])] = &[
    ("aos-core", &[]),
    ("aos-testkit", &["aos-core"]),
    ("aos-server", &["aos-core"]),
    ("aos-benches", &["aos-core", "aos-server", "aos-testkit"]),
    ("aos-fuzz", &["aos-core", "aos-server"]),
];

#[test]
fn the_core_has_no_io_crate_in_its_default_tree() {
    let crates = core_tree("");
    assert_eq!(
        forbidden(&crates),
        Vec::<&str>::new(),
        "in the tree of aos-core; see `cargo tree -p aos-core -e normal`"
    );
}

#[test]
fn the_core_has_no_io_crate_with_its_formats_and_schemas() {
    let crates = core_tree("yaml,jsonpath,jsonschema");
    let found: Vec<_> = forbidden(&crates)
        .into_iter()
        // For the seeds of jsonschema's hash maps, whose order does not reach a verdict: mistakes are sorted.
        .filter(|name| *name != "getrandom")
        .collect();
    assert_eq!(
        found,
        Vec::<&str>::new(),
        "see `cargo tree -p aos-core -e normal -F yaml,jsonpath,jsonschema -i <crate>`"
    );
}

#[test]
fn the_core_is_small() {
    let crates = core_tree("");
    assert!(
        crates.len() <= MAX_CRATES,
        "the default tree of aos-core has {} crates, and {MAX_CRATES} is the promise: {crates:?}",
        crates.len()
    );
}

#[test]
fn the_core_adds_only_a_timer_with_tokio() {
    let crates = core_tree("tokio");
    assert!(crates.contains("tokio"));
    for name in ["mio", "socket2", "signal-hook-registry", "tokio-macros"] {
        assert!(!crates.contains(name), "the feature `tokio` is for its timer alone, and brings {name}");
    }
}

#[test]
fn crates_depend_on_each_other_in_one_direction() {
    let metadata = cargo(&["metadata", "--format-version", "1", "--no-deps", "--locked", "--offline"]);
    let metadata: Value = serde_json::from_str(&metadata).expect("cargo metadata prints JSON");
    let packages = metadata["packages"].as_array().expect("a list of packages");
    let name = |package: &Value| package["name"].as_str().unwrap_or_default().to_owned();
    let members: BTreeSet<String> = packages.iter().map(name).collect();
    for package in packages {
        let name = name(package);
        let Some((_, allowed)) = DIRECTION.iter().find(|(known, _)| *known == name) else {
            panic!("say in {} which crates {name} may depend on", file!());
        };
        for dependency in package["dependencies"].as_array().expect("a list of dependencies") {
            let on = dependency["name"].as_str().unwrap_or_default();
            let normal = dependency["kind"].is_null() || dependency["kind"] == "build";
            assert!(
                !normal || !members.contains(on) || allowed.contains(&on),
                "{name} may depend on {allowed:?}, and depends on {on}"
            );
        }
    }
}

#[test]
fn members_take_versions_and_lints_from_the_workspace() {
    let metadata = cargo(&["metadata", "--format-version", "1", "--no-deps", "--locked", "--offline"]);
    let metadata: Value = serde_json::from_str(&metadata).expect("cargo metadata prints JSON");
    for package in metadata["packages"].as_array().expect("a list of packages") {
        let manifest = package["manifest_path"].as_str().expect("a path");
        let text = std::fs::read_to_string(manifest).expect("the manifest is readable");
        assert!(text.contains("[lints]\nworkspace = true"), "{manifest} does not take the workspace's lints");
        for key in ["version", "edition", "rust-version", "license"] {
            assert!(text.contains(&format!("{key}.workspace = true")), "{manifest} has a {key} of its own");
        }
    }
}

fn forbidden(crates: &BTreeSet<String>) -> Vec<&'static str> {
    FORBIDDEN.iter().copied().filter(|name| crates.contains(*name)).collect()
}

/// The names of all crates in the normal tree of aos-core, itself included.
fn core_tree(features: &str) -> BTreeSet<String> {
    let tree = cargo(&[
        "tree",
        "-p",
        "aos-core",
        "-e",
        "normal",
        "--prefix",
        "none",
        "--format",
        "{p}",
        "--features",
        features,
        "--locked",
        "--offline",
    ]);
    let crates: BTreeSet<String> =
        tree.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect();
    assert!(crates.contains("aos-core") && crates.contains("serde_json"), "not the tree of aos-core: {tree}");
    crates
}

fn cargo(arguments: &[&str]) -> String {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(program).args(arguments).current_dir(root).output().expect("cargo runs");
    assert!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo prints UTF-8")
}
