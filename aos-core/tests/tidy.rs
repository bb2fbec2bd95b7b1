//! House rules that no compiler checks.

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests say what must hold by panicking")]
#![allow(clippy::disallowed_methods, reason = "this test reads the sources; the ban is for the core itself")]

use std::path::{Path, PathBuf};

/// The most lines of one source file: beyond it, a file is about more than one thing.
const MAX_LINES: usize = 600;

/// What the core gets from its host instead: (text, what to use). Iteration over hash maps is caught by clippy.
const NOT_IN_CORE: &[(&str, &str)] = &[
    ("SystemTime::now", "take a Timestamp"),
    ("Instant::now", "take a Timestamp"),
    ("thread_rng", "take a Seed"),
    ("rand::rng", "take a Seed"),
    ("env::var", "take an argument"),
    ("thread::spawn", "leave threads to the host"),
    ("thread::sleep", "ask the host for a wake-up"),
    ("std::fs", "leave files to the host"),
    ("std::net::Tcp", "leave sockets to the host"),
    ("println!", "return a value"),
];

/// Lines of the core that may break a rule: (file, text of the rule, why).
const EXCEPTIONS: &[(&str, &str, &str)] = &[(
    "memory/clock.rs",
    "SystemTime::now",
    "the clock that embedders may hand to the core, behind the feature tokio",
)];

#[test]
fn the_core_takes_everything_from_its_host() {
    let source = root().join("aos-core/src");
    each_line(&source, |file, number, line| {
        let code = line.split("//").next().unwrap_or_default();
        for (text, instead) in NOT_IN_CORE {
            let allowed = EXCEPTIONS.iter().any(|(path, rule, _)| rule == text && file.ends_with(path));
            // Tests may use what they like to make their inputs.
            if code.contains(text) && !allowed && !in_tests(file, number) {
                fail(file, number, &format!("{text} in the core: {instead}"));
            }
        }
    });
}

#[test]
fn exceptions_are_still_needed() {
    for (path, text, why) in EXCEPTIONS {
        let file = root().join("aos-core/src").join(path);
        assert!(read(&file).contains(text), "{path} needs no exception for {text} ({why}) any more");
    }
}

#[test]
fn files_are_about_one_thing_and_say_which() {
    for file in sources() {
        let text = read(&file);
        let lines = text.lines().count();
        assert!(lines <= MAX_LINES, "{} has {lines} lines: split it by concept", file.display());
        assert!(text.starts_with("//! "), "{} does not begin with what it is about (`//! …`)", file.display());
    }
}

#[test]
fn nothing_is_left_half_done() {
    // Written in two parts so that this file passes its own rule.
    let marks: Vec<String> =
        [("todo", "!("), ("unimplemented", "!("), ("dbg", "!("), ("FIX", "ME"), ("X", "XX:"), ("HA", "CK:")]
            .iter()
            .map(|(a, b)| format!("{a}{b}"))
            .collect();
    for file in sources() {
        for (number, line) in read(&file).lines().enumerate() {
            if let Some(mark) = marks.iter().find(|mark| line.contains(mark.as_str())) {
                fail(&file, number, &format!("{mark} is left over"));
            }
        }
    }
}

#[test]
fn texts_are_clean() {
    for file in tracked(&["rs", "toml", "md", "yml", "yaml", "json", "jsonl", "sql", "sh"]) {
        let text = read(&file);
        // Recorded web pages are kept as they came.
        if file.components().any(|part| part.as_os_str() == "fixtures") && !file.ends_with("contract_diff.json") {
            continue;
        }
        assert!(text.is_empty() || text.ends_with('\n'), "{} does not end with a line break", file.display());
        for (number, line) in text.lines().enumerate() {
            if line.ends_with([' ', '\t']) {
                fail(&file, number, "trailing white space");
            }
            if line.contains('\r') {
                fail(&file, number, "a carriage return");
            }
            // In two parts again.
            for place in [concat!("/ho", "me/"), concat!("/Us", "ers/"), concat!("/wo", "rk/"), concat!("/ro", "ot/")] {
                if line.contains(place) {
                    fail(&file, number, &format!("a path of somebody's machine ({place})"));
                }
            }
        }
    }
}

/// Rust sources of all crates, tests and benches included.
fn sources() -> Vec<PathBuf> {
    tracked(&["rs"])
}

/// Files below the root with one of these extensions, except what was built.
fn tracked(extensions: &[&str]) -> Vec<PathBuf> {
    let mut files = Vec::new();
    collect(&root(), extensions, &mut files);
    files.sort();
    assert!(files.len() > 10, "the sources are not where this test looks");
    files
}

fn collect(directory: &Path, extensions: &[&str], files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).expect("the directory is readable") {
        let entry = entry.expect("the entry is readable");
        let (path, name) = (entry.path(), entry.file_name());
        let kind = entry.file_type().expect("the entry has a type");
        if kind.is_dir() {
            let name = name.to_string_lossy();
            if !["target", "book", "node_modules", "aos-data"].contains(&&*name) && !name.starts_with(".git") {
                collect(&path, extensions, files);
            }
        } else if kind.is_file() && path.extension().is_some_and(|e| extensions.iter().any(|known| e == *known)) {
            files.push(path);
        }
    }
}

fn each_line(directory: &Path, mut visit: impl FnMut(&Path, usize, &str)) {
    let mut files = Vec::new();
    collect(directory, &["rs"], &mut files);
    for file in files {
        for (number, line) in read(&file).lines().enumerate() {
            visit(&file, number, line);
        }
    }
}

/// Whether a line is in a test module: a file or directory of that name, or after `#[cfg(test)]` to the file's end.
fn in_tests(file: &Path, number: usize) -> bool {
    let by_name = file.components().any(|part| part.as_os_str() == "tests")
        || file.file_stem().is_some_and(|stem| stem == "tests" || stem.to_string_lossy().ends_with("_tests"));
    by_name
        || read(file)
            .lines()
            .take(number)
            .collect::<Vec<_>>()
            .windows(2)
            .any(|pair| pair[0].trim() == "#[cfg(test)]" && pair[1].contains("mod tests {"))
}

fn fail(file: &Path, number: usize, why: &str) -> ! {
    let file = file.strip_prefix(root()).unwrap_or(file);
    panic!("{}:{}: {why}", file.display(), number + 1)
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|why| panic!("{}: {why}", file.display()))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in a workspace").to_owned()
}
