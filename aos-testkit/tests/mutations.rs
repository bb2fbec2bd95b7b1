//! Golden files that were tampered with: every field of every entry, every kind of damage, ten thousand times.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests panic")]

#[path = "support/flows.rs"]
mod flows;
#[path = "support/parallel.rs"]
mod parallel;

use std::fs;
use std::path::Path;

use aos_core::journal::Line;
use aos_core::random::{Rng, Seed};
use aos_core::replay::golden::{GoldenError, GoldenFile};
use aos_core::replay::{ReplayError, chain_hash};
use aos_testkit::history::rechained;
use serde_json::{Value, json};

fn goldens() -> Vec<(String, GoldenFile)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/golden");
    let mut files: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
        .iter()
        .map(|file| {
            let name = file.file_stem().unwrap().to_string_lossy().into_owned();
            (name, GoldenFile::parse(&fs::read_to_string(file).unwrap()).unwrap())
        })
        .collect()
}

fn verify(golden: &GoldenFile) -> Result<(), GoldenError> {
    golden.verify(&flows::flows()).map(drop)
}

/// Fields that carry no meaning: they may change without a drift as long as the chain is mended.
fn is_without_meaning(pointer: &str) -> bool {
    // What `http_call` declares as volatile is recorded and hashes to nothing.
    let volatile = matches!(pointer, "/output/elapsed_ms" | "/output/headers/date");
    volatile
        || matches!(pointer, "/at" | "/run" | "/tenant" | "/reason" | "/retry_at" | "/seq")
        || pointer.starts_with("/forked_from")
        || pointer.starts_with("/failure/message")
        || pointer.starts_with("/failure/details")
        || pointer.starts_with("/failure/retry_after_ms")
        || pointer.starts_with("/failure/retryable")
}

/// The pointers of all fields of a value, those of objects and arrays within it included.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    let escaped = |key: &str| key.replace('~', "~0").replace('/', "~1");
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| {
            let at = format!("{at}/{}", escaped(key));
            found.push(at.clone());
            pointers(value, &at, found);
        }),
        Value::Array(items) => items.iter().enumerate().for_each(|(index, value)| {
            let at = format!("{at}/{index}");
            found.push(at.clone());
            pointers(value, &at, found);
        }),
        _ => {}
    }
}

/// Another value of the same kind, so that the entry stays well-formed wherever that is possible.
fn another(value: &Value) -> Value {
    match value {
        Value::Null => json!(1),
        Value::Bool(on) => json!(!on),
        Value::Number(number) => json!(number.as_u64().map_or(1, |n| n + 1)),
        Value::String(text) if text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) => {
            json!(text.chars().map(|c| if c == '0' { '1' } else { '0' }).collect::<String>())
        }
        Value::String(text) if text.contains('@') => json!(format!("{text}1")),
        Value::String(text) if text.parse::<f64>().is_ok() => json!(format!("1{text}")),
        Value::String(text) => json!(format!("{text}x")),
        Value::Array(items) => json!(items.iter().chain([&json!(1)]).collect::<Vec<_>>()),
        Value::Object(fields) => {
            let mut fields = fields.clone();
            fields.insert("added".into(), json!(1));
            fields.into()
        }
    }
}

/// Every entry that differs from `entry` in one field, which has another value, is gone or is new; with the field's
/// pointer and what was done.
fn mutations(entry: &Value) -> Vec<(String, &'static str, Value)> {
    let mut fields = vec![String::new()];
    pointers(entry, "", &mut fields);
    let mutation = |field: String| {
        let mut changed = entry.clone();
        let slot = changed.pointer_mut(&field)?;
        *slot = another(slot);
        let removed = without(entry, &field).map(|removed| (field.clone(), "removed", removed));
        Some([Some((field, "changed", changed)), removed])
    };
    fields.into_iter().filter_map(mutation).flatten().flatten().collect()
}

/// The entry without a field; `None` for the entry itself.
fn without(entry: &Value, field: &str) -> Option<Value> {
    let (parent, key) = field.rsplit_once('/')?;
    let mut entry = entry.clone();
    match entry.pointer_mut(parent)? {
        Value::Object(fields) => drop(fields.remove(&key.replace("~1", "/").replace("~0", "~"))?),
        Value::Array(items) => drop(items.remove(key.parse().ok()?)),
        _ => return None,
    }
    Some(entry)
}

/// The golden file with another line at `index`.
fn with_line(golden: &GoldenFile, index: usize, line: Line) -> GoldenFile {
    let mut mutated = golden.clone();
    mutated.lines[index] = line;
    mutated
}

/// Links the lines after a changed one anew, and tells the header.
fn mended(golden: &GoldenFile, mutated: &GoldenFile, index: usize) -> GoldenFile {
    let link = |line: &Line| format!(r#""prev":"{}""#, line.hash());
    let mut mended = mutated.clone();
    for next in index + 1..mended.lines.len() {
        let (old, new) = (link(&golden.lines[next - 1]), link(&mended.lines[next - 1]));
        mended.lines[next] = Line::new(golden.lines[next].as_str().replacen(&old, &new, 1));
    }
    mended.header.chain_hash = chain_hash(&mended.lines);
    mended
}

fn index_of(error: &GoldenError) -> Option<u64> {
    match error {
        GoldenError::Replay(error) => error.index(),
        _ => None,
    }
}

#[test]
fn a_change_of_any_field_is_found_at_its_entry() {
    let goldens = goldens();
    for (name, golden) in &goldens {
        verify(golden).unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    let entries: Vec<_> = goldens
        .iter()
        .flat_map(|(name, golden)| (0..golden.lines.len()).map(move |index| (name.as_str(), golden, index)))
        .collect();
    let counts = parallel::each(&entries, |(name, golden, index)| change_every_field(name, golden, *index));
    let (changes, harmless) = counts.into_iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    println!("{changes} changes of {} entries, {harmless} of them without meaning", entries.len());
    assert!(changes > 20_000 && harmless > 1_000, "{changes} changes, {harmless} of them harmless");
}

/// Changes and removes one field of the entry after the other; gives how many mutations that makes, and how many of
/// them carry no meaning.
fn change_every_field(name: &str, golden: &GoldenFile, index: usize) -> (usize, usize) {
    // A budget means something to runs that it stops.
    let budget_matters = golden.lines.iter().any(|line| line.as_str().contains("ERR_BUDGET_EXCEEDED"));
    let entry: Value = serde_json::from_str(golden.lines[index].as_str()).unwrap();
    let (mut count, mut harmless) = (0, 0);
    for (field, done, changed) in mutations(&entry) {
        count += 1;
        let what = format!("{name}, entry {index}, {field:?} {done}");
        let mutated = with_line(golden, index, Line::new(aos_core::canonical::to_string(changed).unwrap()));
        let error = verify(&mutated).expect_err(&what);
        assert_eq!(index_of(&error), Some(index as u64), "{what}: {error}");

        if field == "/prev" {
            // Mended, it would be the original.
            continue;
        }
        match verify(&mended(golden, &mutated, index)) {
            Ok(()) => {
                let unused = field == "/budget" && !budget_matters;
                assert!(unused || is_without_meaning(&field), "{what}, and nobody noticed");
                harmless += 1;
            }
            Err(error) => {
                let found = index_of(&error).unwrap_or(index as u64);
                assert!(found >= index as u64, "{what}, was found too early: {error}");
            }
        }
    }
    (count, harmless)
}

#[test]
fn times_carry_no_meaning() {
    for (name, golden) in goldens() {
        let mut shifted = golden.clone();
        for line in &mut shifted.lines {
            let mut entry: Value = serde_json::from_str(line.as_str()).unwrap();
            for field in ["/at", "/retry_at"] {
                if let Some(time) = entry.pointer_mut(field) {
                    *time = json!(time.as_u64().unwrap() + 86_400_000);
                }
            }
            *line = Line::new(aos_core::canonical::to_string(entry).unwrap());
        }
        let reads_the_clock = golden.lines.iter().any(|line| line.as_str().contains(r#""kind":"now""#));
        if !reads_the_clock {
            shifted.lines = rechained(&shifted.lines);
            shifted.header.chain_hash = chain_hash(&shifted.lines);
            verify(&shifted).unwrap_or_else(|e| panic!("{name}, a day later: {e}"));
        }
    }
}

#[test]
fn damage_is_called_by_its_name() {
    for (name, golden) in goldens() {
        let text = golden.to_string();
        let says = |text: &str, expected: &str| {
            let error = GoldenFile::parse(text).and_then(|golden| verify(&golden)).expect_err(&name).to_string();
            assert!(error.contains(expected), "{name}: {error:?} does not say {expected:?}");
        };
        let lines: Vec<&str> = text.lines().collect();
        says(&lines[..lines.len() - 1].join("\n"), "cut short");
        says(&text[..text.len() - 20], "damaged");
        says(&text.replacen(r#""golden":1"#, r#""golden":2"#, 1), "format version 2");
        let first = golden.header.blobs as usize + 1;
        let mut swapped = lines.clone();
        swapped.swap(first + 1, first + 2);
        says(&swapped.join("\n"), "missing or out of order");
        let mut bumped: Vec<String> = lines.iter().map(ToString::to_string).collect();
        bumped[first + 1] = bumped[first + 1].replacen(r#""v":1"#, r#""v":7"#, 1);
        says(&bumped.join("\n"), "format version 7");
        let mut removed = golden.clone();
        removed.lines.remove(1);
        removed.header.entries -= 1;
        says(&removed.to_string(), "missing or out of order");
    }
}

#[test]
fn ten_thousand_damaged_files_are_judged_without_a_panic() {
    const FILES: u64 = 10_000;
    let texts: Vec<Vec<u8>> = goldens().iter().map(|(_, golden)| golden.to_string().into_bytes()).collect();
    let small: Vec<_> = texts.iter().filter(|text| text.len() < 60_000).collect();
    let mut held = 0;
    for seed in 0..FILES {
        let mut rng = Rng::new(Seed::new(seed), "mutations");
        let mut text = small[rng.below(small.len() as u64) as usize].clone();
        for _ in 0..=rng.below(3) {
            damage(&mut text, &mut rng);
        }
        let text = String::from_utf8_lossy(&text);
        let judged = GoldenFile::parse(&text).and_then(|golden| verify(&golden));
        held += u64::from(judged.is_ok());
        if let Err(GoldenError::Replay(ReplayError::Program(failure))) = &judged {
            assert_ne!(failure.code.as_str(), "ERR_INTERNAL", "seed {seed}: {failure}");
        }
    }
    assert!(held < FILES / 20, "{held} of {FILES} damaged files hold");
}

fn damage(text: &mut Vec<u8>, rng: &mut Rng) {
    if text.is_empty() {
        return;
    }
    let at = rng.below(text.len() as u64) as usize;
    match rng.below(6) {
        0 => text[at] ^= 1 << rng.below(8),
        1 => text.truncate(at),
        2 => drop(text.remove(at)),
        3 => text.insert(at, b"\"{}[],:0\\\n\xff"[rng.below(11) as usize]),
        4 => {
            let length = (rng.below(200) as usize).min(text.len() - at);
            let piece = text[at..at + length].to_vec();
            let to = rng.below(text.len() as u64) as usize;
            text.splice(to..to, piece);
        }
        _ => {
            let mut lines: Vec<Vec<u8>> = text.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
            let (a, b) = (rng.below(lines.len() as u64) as usize, rng.below(lines.len() as u64) as usize);
            lines.swap(a, b);
            *text = lines.join(&b'\n');
        }
    }
}
