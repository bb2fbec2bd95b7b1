//! Every target over its seeds, as they are and tampered with.
//!
//! `AOS_FUZZ_ROUNDS` says how often each seed is tampered with (20).

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test fails by panicking and reports")]

use std::path::{Path, PathBuf};

use aos_core::random::{Rng, Seed};
use aos_fuzz::{TARGETS, Target};

/// Where a target's seeds are, below the workspace: its own, and files that it is about anyway.
fn seeds(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let fixtures: &[&str] = match target {
        "golden" | "journal" => &["aos-testkit/fixtures/golden"],
        "workflow" => &["aos-testkit/fixtures/workflows", "docs/examples"],
        _ => &[],
    };
    let own = format!("fuzz/seeds/{target}");
    let own = (fixtures.is_empty() || root.join(&own).exists()).then_some(own.as_str());
    let mut seeds = Vec::new();
    for directory in fixtures.iter().copied().chain(own) {
        for entry in std::fs::read_dir(root.join(directory)).unwrap_or_else(|e| panic!("{directory}: {e}")) {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            // The largest would take most of the time.
            if bytes.len() < 40_000 {
                seeds.push((path, bytes));
            }
        }
    }
    seeds.sort();
    assert!(!seeds.is_empty(), "{target} has no seeds");
    seeds
}

fn tampered(rng: &mut Rng, seed: &[u8]) -> Vec<u8> {
    let below = |rng: &mut Rng, bound: usize| rng.below(bound.max(1) as u64) as usize;
    let mut bytes = seed.to_vec();
    for _ in 0..=rng.below(4) {
        if bytes.is_empty() {
            break;
        }
        let at = below(rng, bytes.len());
        let end = (at + 1 + below(rng, 40)).min(bytes.len());
        match rng.below(6) {
            0 => bytes[at] ^= 1 << rng.below(8),
            1 => bytes[at] = b"\r\n{}[]\",:0-.e\\\x80"[below(rng, 15)],
            2 => drop(bytes.drain(at..end)),
            3 => {
                let piece = bytes[at..end].to_vec();
                let to = below(rng, bytes.len());
                bytes.splice(to..to, piece);
            }
            4 => bytes.truncate(at),
            _ => {
                let texts: [&[u8]; 6] =
                    [b"null", b"-1", b"99999999999999999999", b"1e400", b"\\ud800", "\u{202e}ä".as_bytes()];
                bytes.splice(at..end, texts[below(rng, texts.len())].iter().copied());
            }
        }
    }
    bytes
}

fn check(name: &str, target: Target, rounds: u64) {
    for (path, seed) in seeds(name) {
        target(&seed);
        let mut rng = Rng::new(Seed::new(rounds), &path.file_name().unwrap().to_string_lossy());
        for round in 0..rounds {
            let bytes = tampered(&mut rng, &seed);
            let ran = std::panic::catch_unwind(|| target(&bytes));
            if ran.is_err() {
                panic!(
                    "{name}: {} after tampering {round} breaks a promise:\n{}",
                    path.display(),
                    bytes.escape_ascii()
                );
            }
        }
    }
}

#[test]
fn no_seed_breaks_a_promise_as_it_is_or_tampered_with() {
    let rounds = std::env::var("AOS_FUZZ_ROUNDS").map_or(20, |text| text.parse().unwrap());
    std::thread::scope(|scope| {
        for (name, target) in TARGETS {
            scope.spawn(move || check(name, target, rounds));
        }
    });
}

#[test]
fn every_target_is_a_binary_for_cargo_fuzz() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, _) in TARGETS {
        let text = std::fs::read_to_string(root.join(format!("targets/{name}.rs"))).unwrap();
        assert!(text.contains(&format!("aos_fuzz::{name}(data)")), "{text}");
    }
    assert_eq!(std::fs::read_dir(root.join("targets")).unwrap().count(), TARGETS.len());
}
