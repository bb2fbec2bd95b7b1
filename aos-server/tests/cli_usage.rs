//! What every command shares: usage, settings, output, exit codes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

mod cli_support;

use std::process::Stdio;

use cli_support::{Place, run};

const COMMANDS: &[&[&str]] = &[
    &[],
    &["serve"],
    &["run"],
    &["replay"],
    &["golden"],
    &["golden", "record"],
    &["golden", "verify"],
    &["golden", "bless"],
    &["runs"],
    &["runs", "list"],
    &["runs", "get"],
    &["runs", "journal"],
    &["runs", "cancel"],
    &["runs", "pause"],
    &["runs", "resume"],
    &["runs", "retry"],
    &["runs", "approve"],
    &["runs", "reject"],
    &["runs", "signal"],
    &["runs", "fork"],
    &["runs", "wait"],
    &["runs", "purge"],
    &["queue"],
    &["queue", "show"],
    &["queue", "limit"],
    &["dlq"],
    &["dlq", "list"],
    &["dlq", "get"],
    &["dlq", "retry"],
    &["dlq", "discard"],
    &["workers"],
    &["workers", "list"],
    &["switch"],
    &["switch", "list"],
    &["switch", "on"],
    &["switch", "off"],
    &["schedules"],
    &["schedules", "list"],
    &["schedules", "get"],
    &["schedules", "put"],
    &["schedules", "remove"],
    &["schedules", "pause"],
    &["schedules", "resume"],
    &["schedules", "trigger"],
    &["registry"],
    &["registry", "export"],
    &["registry", "import"],
    &["registry", "list"],
    &["registry", "diff"],
    &["registry", "snapshot"],
    &["registry", "snapshots"],
    &["registry", "rollback"],
    &["registry", "audit"],
    &["registry", "disable"],
    &["registry", "enable"],
    &["migrate"],
    &["doctor"],
    &["completions"],
];

#[test]
fn every_command_explains_itself() {
    let place = Place::new();
    for command in COMMANDS {
        let help = place.aos(&[command, &["--help"][..]].concat()).exits(0).prints("Usage: aos-server");
        assert!(help.err.is_empty(), "{command:?}: {}", help.err);
    }
    place.aos(&["--help"]).exits(0).prints("Exit codes:").prints("3  the server can't be reached");
    place.aos(&["--version"]).exits(0).prints(env!("CARGO_PKG_VERSION"));
}

#[test]
fn wrong_usage_exits_with_2_and_says_why() {
    let place = Place::new();
    for (args, says) in [
        (&["fly"][..], "unrecognized subcommand"),
        (&["replya", "x"], "similar"),
        (&["replay"], "required"),
        (&["golden", "record"], "required"),
        (&["golden", "record", "--run", "a", "--definition", "b"], "cannot be used with"),
        (&["golden", "record", "--run", "a", "--input", "{}"], "cannot be used with"),
        (&["runs", "get"], "required"),
        (&["runs", "get", "a b"], "is not a valid run id"),
        (&["schedules", "get", "a b"], "is not a valid schedule id"),
        (&["schedules", "put", "a", "--cron", "@daily"], "--workflow"),
        (&["schedules", "put", "a", "--workflow", "w", "--cron", "@daily", "--priority", "10"], "from 0 (last) to 9"),
        (&["schedules", "put", "a", "--workflow", "w", "--cron", "@daily", "--overlap", "x"], "expected skip or allow"),
        (&["runs", "list", "--state", "flying"], "expected one of queued, running"),
        (&["runs", "list", "--limit", "0"], "invalid value"),
        (&["runs", "list", "--db", "x", "--url", "http://x"], "cannot be used with"),
        (&["runs", "signal", "r", ""], "value"),
        (&["runs", "cancel"], "required"),
        (&["runs", "cancel", "r", "--all"], "cannot be used with"),
        (&["runs", "cancel", "r", "--state", "queued"], "cannot be used with"),
        (&["runs", "pause", "--workflow", "a"], "required"),
        (&["runs", "retry", "r", "--dry-run"], "cannot be used with"),
        (&["runs", "purge"], "required"),
        (&["runs", "purge", "--all", "--older-than", "1d"], "cannot be used with"),
        (&["queue", "limit", "a"], "required"),
        (&["queue", "limit", "a", "many"], "expected a whole number, or none"),
        (&["dlq", "retry"], "required"),
        (&["switch", "on", "lights", "--reason", "dark"], "expected one of disable_live_adapters"),
        (&["switch", "on", "pause_claims"], "--reason"),
        (&["registry", "disable", "skill", "a@1.0.0"], "--reason"),
        (&["registry", "enable", "adapter", "a@1.0.0"], "invalid value"),
        (&["registry", "rollback", ""], "value"),
        (&["run", "x.yaml", "--seed", "9007199254740992"], "invalid value"),
        (&["run", "x.yaml", "--budget", "lots"], "not an amount of US dollars"),
        (&["run", "x.yaml", "--signal", "approval"], "NAME=VALUE"),
        (&["completions", "cmd.exe"], "invalid value"),
        (&["-o", "xml", "runs", "list"], "invalid value"),
        (&["--set", "PORT", "doctor"], "NAME=VALUE"),
        (&["--port", "1", "runs", "list"], "put them behind it"),
    ] {
        let done = place.aos(args).exits(2).says(says);
        assert!(done.out.is_empty(), "{args:?}: {}", done.out);
    }
}

#[test]
fn wrong_settings_stop_what_needs_them_all_at_once() {
    let place = Place::new();
    place.write("aos.toml", "LOG_LEVLE = 'debug'\n");
    let mut command = place.command(&["serve", "--port", "banana"]);
    command.env("AOS_CONFIG", "aos.toml").env("HOST", "example.com").env("ANTHROPIC_API_KEY", "sk hunter2");
    let done = run(&mut command, b"").exits(2).says("error: ERR_INVALID_SETTING: 4 settings are wrong");
    for part in [
        "LOG_LEVLE (aos.toml)",
        "did you mean LOG_LEVEL?",
        "PORT (command line): \"banana\"",
        "HOST (environment)",
        "ANTHROPIC_API_KEY",
        "doctor",
    ] {
        assert!(done.err.contains(part), "{part}: {}", done.err);
    }
    assert!(!done.err.contains("hunter2"), "{}", done.err);
    assert!(!place.path("aos-data").exists(), "a start that fails leaves nothing behind");
}

#[test]
fn an_unreachable_server_exits_with_3() {
    let place = Place::new();
    for args in [
        &["runs", "list"][..],
        &["runs", "get", "r1"],
        &["runs", "journal", "r1"],
        &["runs", "cancel", "r1"],
        &["runs", "cancel", "--all"],
        &["runs", "pause", "r1"],
        &["runs", "retry", "r1"],
        &["runs", "approve", "r1"],
        &["runs", "purge", "--all", "--dry-run"],
        &["queue"],
        &["queue", "limit", "a", "none"],
        &["dlq", "list"],
        &["workers"],
        &["switch", "list"],
        &["registry", "snapshots"],
        &["runs", "signal", "r1", "go", "--payload", "{}"],
        &["runs", "fork", "r1", "--at", "a"],
        &["runs", "wait", "r1"],
        &["registry", "list"],
        &["registry", "export"],
        &["golden", "record", "--run", "r1"],
    ] {
        place
            .aos(args)
            .exits(3)
            .says("error: ERR_STORE_UNAVAILABLE: the server at http://127.0.0.1:1/ can't be reached")
            .says("--db FILE|URL");
        let done = place.aos(&[args, &["-o", "json"]].concat()).exits(3);
        assert_eq!(done.error()["code"], "ERR_STORE_UNAVAILABLE");
        assert!(done.out.is_empty(), "{}", done.out);
    }
    place.aos(&["runs", "list", "--url", "localhost:8000"]).exits(2).says("AOS_URL (command line)");
}

#[test]
fn completions_are_printed_for_every_shell() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        place.aos(&["completions", shell]).exits(0).prints("aos-server").prints("completions");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let place = Place::new();
    let mut child =
        place.command(&["completions", "zsh"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
}

#[test]
fn output_that_is_not_a_terminal_has_no_colours() {
    let place = Place::new();
    for args in [&["doctor"][..], &["runs", "list"], &["replay", "nothing.jsonl"]] {
        let done = place.aos(args);
        assert!(!done.out.contains('\x1b') && !done.err.contains('\x1b'), "{done:?}");
    }
}
