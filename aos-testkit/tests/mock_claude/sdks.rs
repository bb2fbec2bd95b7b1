//! The official SDKs against the mock: programs in their own languages, with the SDKs that are installed for them here.
//!
//! They are installed once, below `target`, with the versions given here. Where that is not possible the tests fail, unless
//! `AOS_TEST_SDKS=off` says that they are not wanted.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use aos_testkit::service::claude::{ApiError, Reply, Rule, Usage};
use aos_testkit::service::{MockClaude, program};
use serde_json::json;

const PYTHON: &[&str] = &["anthropic==2.14.0", "pydantic==2.14.4"];
const TYPESCRIPT: &[&str] = &["@anthropic-ai/sdk@1.14.0", "zod@4.6.7"];

#[test]
fn the_python_sdk_works() {
    check("python", PYTHON, "sdk.py", |directory, packages| {
        let python = directory.join("bin/python");
        run(Command::new(found("python3", "python3-venv")).args(["-m", "venv"]).arg(directory));
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(packages));
        python
    });
}

#[test]
fn the_typescript_sdk_works() {
    check("typescript", TYPESCRIPT, "sdk.mjs", |directory, packages| {
        let mut install = Command::new(found("npm", "npm"));
        run(install.args(["install", "--no-audit", "--no-fund", "--prefix"]).arg(directory).args(packages));
        found("node", "nodejs")
    });
}

/// Runs a program with packages that `install` brings into a directory; that says what runs the program, too.
fn check(language: &str, packages: &[&str], test: &str, install: fn(&Path, &[&str]) -> PathBuf) {
    if std::env::var_os("AOS_TEST_SDKS").is_some_and(|value| value == "off") {
        eprintln!("the {language} SDK is not tested: AOS_TEST_SDKS=off");
        return;
    }
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("sdk-{language}"));
    let marker = directory.join("installed");
    // Path of what runs the program, after what was installed.
    let wanted = packages.join(" ");
    let installed = fs::read_to_string(&marker).unwrap_or_default();
    let runner = match installed.split_once('\n').filter(|(packages, _)| *packages == wanted) {
        Some((_, runner)) => PathBuf::from(runner),
        None => {
            let _ = fs::remove_dir_all(&directory);
            fs::create_dir_all(&directory).unwrap();
            let runner = install(&directory, packages);
            fs::write(&marker, format!("{wanted}\n{}", runner.display())).unwrap();
            runner
        }
    };
    let claude = scripted();
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mock_claude").join(test);
    let output = run(Command::new(runner)
        .arg(program)
        .args([&claude.base_url(), claude.key()])
        .arg(&directory)
        .env_remove("ANTHROPIC_BASE_URL")
        .env_remove("ANTHROPIC_AUTH_TOKEN")
        .env("NO_PROXY", "127.0.0.1"));
    compare(&claude, output.lines().last().unwrap_or_default());
}

/// Each usage that a program has seen is the one that is billed.
fn compare(claude: &MockClaude, seen: &str) {
    let seen: BTreeMap<String, (u64, u64)> =
        serde_json::from_str(seen).unwrap_or_else(|error| panic!("{error}: {seen}"));
    assert!(seen.len() >= 15, "{seen:?}");
    let records = claude.records();
    for (id, (input, output)) in seen {
        let record = records.iter().find(|record| record.request_id == id).unwrap();
        assert_eq!((record.usage.input_tokens, record.usage.output_tokens), (input, output), "{record:?}");
        assert!(record.whole && record.status == Some(200), "{record:?}");
    }
    // How often the SDKs have tried.
    let tries = |text: &str| claude.requests().iter().filter(|request| request.last_text() == text).count();
    for (text, expected) in [
        ("retry rate limit", 3),
        ("retry overloaded", 2),
        ("retry reset", 2),
        ("retry because told to", 2),
        ("do not retry", 1),
        ("timeout", 1),
    ] {
        assert_eq!(tries(text), expected, "{text}");
    }
}

/// What the programs expect.
fn scripted() -> MockClaude {
    let claude = MockClaude::start().unwrap();
    let on = |text: &str, reply: Reply| Rule::new(reply).when_text(text);
    for (number, error) in ApiError::documented().into_iter().enumerate() {
        claude.on(on(&format!("error {number}."), Reply::error(error)));
    }
    claude.on(on("html", Reply::raw(502, "text/html", "<html>Bad Gateway</html>")));
    claude.on(on("error event", Reply::echo().error_after(4, ApiError::overloaded())));
    claude.on(on("cut", Reply::echo().cut_after(700)));
    claude.on(on("retry rate limit", Reply::error(ApiError::rate_limit(Duration::from_secs(1)))).times(1));
    let soon = Reply::error(ApiError::rate_limit(Duration::from_secs(3_600))).header("retry-after-ms", "20");
    claude.on(on("retry rate limit", soon).times(1));
    claude.on(on("retry overloaded", Reply::error(ApiError::overloaded())).times(1));
    claude.on(on("retry reset", Reply::echo().reset()).times(1));
    let told = Reply::error(ApiError::billing().should_retry(true));
    claude.on(on("retry because told to", told).times(1));
    claude.on(on("do not retry", Reply::error(ApiError::overloaded().should_retry(false))));
    claude.on(on("timeout", Reply::echo().delay(Duration::from_secs(3_600))));
    claude.on(on("weather in Rome?", Reply::tool_use("weather", json!({"city": "Rome", "days": 3}))));
    let blocks = vec![json!({"type": "hologram", "light": 1}), json!({"type": "text", "text": "known"})];
    let unknown = Reply::blocks(blocks).stop_reason("tea_break").extra_event("weather", json!({"type": "weather"}));
    claude.on(on("unknown", unknown));
    let usage = Usage {
        cache_read_tokens: 300,
        cache_write_5m_tokens: 4_000,
        cache_write_1h_tokens: 50_000,
        ..Usage::new(1, 20)
    };
    claude.on(on("late usage", Reply::text("late").usage(usage).usage_in_delta_only()));
    claude
}

fn found(name: &str, package: &str) -> PathBuf {
    program(name, package).unwrap_or_else(|error| {
        panic!("{name} is needed to test the official SDKs ({error}); AOS_TEST_SDKS=off leaves these tests out")
    })
}

/// Runs a command to its end and gives what it printed.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{command:?} failed; AOS_TEST_SDKS=off leaves this test out\n{out}{err}");
    out
}
