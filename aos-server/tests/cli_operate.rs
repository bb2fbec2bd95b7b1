//! What an operator does, on SQLite and on Postgres, through a server and directly on its database.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

mod cli_support;

use std::time::{Duration, Instant};

use aos_testkit::service::Postgres;
use cli_support::server::Server;
use cli_support::{Done, Place};
use serde_json::{Value, json};

/// Against hangs only.
const PATIENCE: Duration = Duration::from_secs(60);

/// Stands in no output.
const PASSWORD: &str = "hunter2";

/// A server, a way to it, and a way to make one of its runs dead.
struct Site {
    server: Server,
    way: Vec<String>,
    bury: Box<dyn Fn(&str)>,
}

const BURY: &str = r#"UPDATE run SET state = 'dead', ready_at = 9223372036854775807, finished_at = created_at,
    failure = '{"code":"ERR_RUN_DEAD","message":"five workers have died","retryable":false}' WHERE run = "#;

fn sqlite(through_server: bool) -> Site {
    let server = Server::start();
    let db = server.place.path("aos-data/aos.db");
    let way = if through_server {
        vec!["--url".into(), server.url.clone()]
    } else {
        vec!["--db".into(), format!("sqlite://{}", db.display())]
    };
    let bury = move |run: &str| {
        let sql = BURY.replace("failure = '", "failure = CAST('").replace("' WHERE", "' AS BLOB) WHERE");
        rusqlite::Connection::open(&db).unwrap().execute(&format!("{sql}'{run}'"), []).unwrap();
    };
    Site { server, way, bury: Box::new(bury) }
}

fn postgres(through_server: bool) -> Site {
    let database = Postgres::shared().database().unwrap();
    let url = database.url.replace("aos@", &format!("aos:{PASSWORD}@"));
    let server = Server::with(&["--db", &url]);
    assert!(!server.first_screen.contains(PASSWORD), "{}", server.first_screen);
    let way = if through_server { vec!["--url".into(), server.url.clone()] } else { vec!["--db".into(), url] };
    let bury = move |run: &str| drop(Postgres::shared().sql(&database.name, &format!("{BURY}'{run}'")).unwrap());
    Site { server, way, bury: Box::new(bury) }
}

impl Site {
    fn aos(&self, args: &[&str]) -> Done {
        let way: Vec<&str> = self.way.iter().map(String::as_str).collect();
        let done = self.server.place.aos(&[args, &way].concat());
        assert!(!done.out.contains(PASSWORD) && !done.err.contains(PASSWORD), "{done:?}");
        done
    }

    fn json(&self, args: &[&str]) -> Value {
        self.aos(&[args, &["-o", "json"]].concat()).exits(0).json()
    }

    /// Asks until the answer is as wanted.
    fn until(&self, args: &[&str], wanted: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let answer = self.json(args);
            if wanted(&answer) {
                return answer;
            }
            assert!(began.elapsed() < PATIENCE, "{args:?}: {answer:#}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// A run that waits for an approval.
    fn asks(&self) -> String {
        let steps = json!([{"id": "ask", "signal": "approval"}]);
        let id = self.server.create(json!({"id": "approval", "steps": steps}), json!({}));
        self.until(&["runs", "get", &id], |run| {
            run["state"] == "parked" && run["waiting_for"][0]["name"] == "approval"
        });
        id
    }
}

fn on_every_site(operate: impl Fn(&Site)) {
    for site in [sqlite(true), sqlite(false), postgres(true), postgres(false)] {
        operate(&site);
    }
}

#[test]
fn runs_are_steered_one_by_one() {
    on_every_site(|site| {
        let id = site.asks();
        site.aos(&["runs", "get", &id]).exits(0).prints("waits     ask (signal approval)");
        site.aos(&["runs", "pause", &id]).exits(0).prints("is paused");
        site.aos(&["runs", "list", "--state", "paused,dead"]).exits(0).prints(&id);
        site.aos(&["runs", "approve", &id, "--name", "boss"]).exits(1).says("it waits for approval");
        site.aos(&["runs", "approve", &id, "--by", "Ada", "--comment", "fine"]).exits(0).prints("sent approval");
        site.aos(&["runs", "reject", &id]).exits(1).says("waits for no signal now");
        site.aos(&["runs", "resume", &id]).exits(0);
        site.server.aos(&["runs", "wait", &id]).exits(0).prints("Ada");
        for action in ["pause", "resume", "retry", "approve"] {
            site.aos(&["runs", action, &id]).exits(1).says("ERR_CONFLICT");
            site.aos(&["runs", action, "nobody"]).exits(1).says("ERR_NOT_FOUND");
        }
        let steps = json!([
            {"id": "first", "skill": "echo", "params": "kept"},
            {"id": "call", "skill": "http_call", "params": {"url": "http://127.0.0.1:1/"}, "needs": ["first"]},
        ]);
        let failed = site.server.create(json!({"id": "calls", "steps": steps}), json!({}));
        site.server.aos(&["runs", "wait", &failed]).exits(1).prints("ERR_HTTP_BLOCKED");
        let retry = site.aos(&["runs", "retry", &failed]).exits(0).out;
        let retry = site.server.aos(&["runs", "wait", retry.trim(), "-o", "json"]).exits(1).json();
        assert_eq!(retry["forked_from"], json!({"run": failed, "effect": "call"}));
        assert_eq!(retry["error"]["code"], "ERR_HTTP_BLOCKED");
    });
}

#[test]
fn runs_are_steered_by_filter_and_deleted() {
    on_every_site(|site| {
        let ids: Vec<_> = (0..3).map(|_| site.asks()).collect();
        let of_workflow = ["--all", "--workflow", "approval"];
        let all =
            |action: &str, more: &[&str]| site.aos(&[&["runs", action][..], &of_workflow, more].concat()).exits(0);
        all("pause", &["--dry-run"]).prints("3 runs would be paused").prints(&ids[0]);
        all("pause", &[]).prints("3 runs paused");
        all("pause", &["--older-than", "1h", "--state", "parked"]).prints("0 runs");
        all("resume", &[]).prints("3 runs resumed");
        site.until(&["runs", "list", "--state", "parked"], |runs| runs.as_array().unwrap().len() == 3);
        all("cancel", &["--reason", "closing time"]).prints("3 runs asked to stop");
        for id in &ids {
            site.server.aos(&["runs", "wait", id]).exits(1).prints("cancelled");
        }
        site.aos(&["runs", "list", "--older-than", "1h"]).exits(0).prints("no runs");
        site.aos(&["runs", "purge", "--older-than", "30d"]).exits(0).prints("0 runs deleted");
        site.aos(&["runs", "purge", "--older-than", "30"]).exits(2).says("30d");
        site.aos(&["runs", "purge", "--all", "--state", "cancelled", "--dry-run"]).exits(0).prints("3 runs would be");
        site.aos(&["runs", "purge", "--all", "--state", "cancelled"]).exits(0).prints("3 runs deleted");
        site.aos(&["runs", "get", &ids[0]]).exits(1).says("ERR_NOT_FOUND");
    });
}

#[test]
fn queue_dead_runs_workers_and_switches_are_looked_after() {
    on_every_site(|site| {
        let (one, two) = (site.asks(), site.asks());
        site.aos(&["queue"]).exits(0).prints("parked    2").prints("of at most 100000");
        site.aos(&["queue", "limit", "approval", "2"]).exits(0).prints("0 of 2 held");
        site.aos(&["queue", "limit", "--skill", "http_call", "3"]).exits(0).prints("at most 3 at a time");
        let queue = site.json(&["queue"]);
        assert_eq!(queue["limits"], json!([{"workflow": "approval", "max": 2, "held": 0, "queued": 0}]), "{queue}");
        assert_eq!(queue["skill_limits"], json!([{"skill": "http_call", "max": 3}]), "{queue}");
        site.aos(&["queue"]).exits(0).prints("limits of workflows\n  approval").prints("limits of skills\n  http_call");
        site.aos(&["queue", "limit", "approval", "none"]).exits(0).prints("no limit");
        site.aos(&["queue", "limit", "http_call", "none", "--skill"]).exits(0).prints("no limit");
        assert_eq!(site.json(&["queue"])["limits"], json!([]));

        site.aos(&["dlq", "list"]).exits(0).prints("no dead runs");
        site.aos(&["dlq", "retry", &one]).exits(1).says("only a dead run");
        (site.bury)(&one);
        (site.bury)(&two);
        site.aos(&["queue"]).exits(0).prints("dead      2");
        site.aos(&["dlq", "list"]).exits(0).prints(&two).prints("ERR_RUN_DEAD: five workers");
        site.aos(&["dlq", "get", &one]).exits(0).prints("dead");
        site.aos(&["dlq", "discard", "--all", "--dry-run"]).exits(0).prints("2 runs would be discarded");
        site.aos(&["dlq", "retry", &one]).exits(0).prints("retried");
        site.until(&["runs", "get", &one], |run| run["state"] == "parked");
        site.aos(&["dlq", "discard", &two, "--reason", "no use"]).exits(0);
        let run = site.json(&["runs", "get", &two]);
        assert_eq!((&run["state"], &run["error"]["code"]), (&json!("cancelled"), &json!("ERR_CANCELLED")), "{run}");
        (site.bury)(&one);
        site.aos(&["dlq", "retry", "--all", "--workflow", "approval"]).exits(0).prints("1 run retried");
        assert_eq!(site.json(&["dlq", "list"]), json!([]));

        let workers = site.until(&["workers"], |list| list.as_array().unwrap().len() == 1);
        let worker = &workers[0];
        assert_eq!(
            (&worker["alive"], &worker["role"], &worker["draining"]),
            (&json!(true), &json!("serve"), &json!(false))
        );
        assert_eq!(worker["pid"], site.server.child.id());
        site.aos(&["workers", "list"]).exits(0).prints("alive").prints("of 64 runs");

        site.aos(&["switch", "list"]).exits(0).prints("off  pause_claims");
        site.aos(&["switch", "on", "pause_claims", "--by", "Ada", "--reason", "a storm"])
            .exits(0)
            .prints("Ada: a storm");
        let health = |on: bool| {
            let list = site.server.aos(&["switch", "list", "-o", "json"]).exits(0).json();
            list["switches"][2]["in_effect"] == on
        };
        let began = Instant::now();
        while !health(true) {
            assert!(began.elapsed() < PATIENCE);
        }
        site.aos(&["switch", "off", "pause-claims", "--reason", "it is over"]).exits(0).prints("off  pause_claims");
        let list = site.json(&["switch", "list"]);
        let turns: Vec<_> = list["history"].as_array().unwrap().iter().map(|turn| turn["reason"].clone()).collect();
        assert_eq!(turns, ["it is over", "a storm"], "{list}");
    });
}

#[test]
fn money_is_looked_after() {
    on_every_site(|site| {
        site.aos(&["budgets"]).exits(0).prints("no budgets");
        site.aos(&["budgets", "set", "tenant", "0.25"]).exits(0).prints("tenant (day): $0.25 left of $0.25");
        let set = ["budgets", "set", "workflow:ask", "1", "--period", "total"];
        site.aos(&set).exits(0).prints("workflow:ask (total): $1 left of $1, $0 spent, $0 reserved\n");
        let budgets = site.json(&["budgets", "list"]);
        let limits: Vec<_> = budgets.as_array().unwrap().iter().map(|budget| budget["limit_usd"].clone()).collect();
        assert_eq!(limits, ["0.25", "1"], "{budgets}");
        site.aos(&["budgets", "remove", "workflow:ask", "--period", "total"]).exits(0).prints("removed the budget");
        site.aos(&["budgets", "remove", "workflow:ask"]).exits(1).says("ERR_NOT_FOUND");
        site.aos(&["budgets", "set", "everybody", "1"]).exits(2).says("workflow:<id>");
        site.aos(&["budgets", "set", "tenant", "-1"]).exits(2);

        for by in ["model", "workflow", "day", "run", "effect", "attempt", "adapter", "key"] {
            let report = site.json(&["costs", "--by", by]);
            assert_eq!(report, json!({"by": by, "lines": []}));
        }
        site.aos(&["costs", "--by", "colour"]).exits(2).says("expected one of model");
        site.aos(&["costs", "--since", "yesterday"]).exits(2).says("expected a day");

        let steps =
            json!([{"id": "ask", "skill": "llm_invoke", "params": {"model": "m", "prompt": "hi", "adapter": "stub"}}]);
        let run = site.server.create(json!({"id": "ask", "steps": steps}), json!({}));
        site.server.aos(&["runs", "wait", &run]).exits(0);
        site.aos(&["recost", &run]).exits(0).prints("ask#1  m  recorded $0  new $0  0\n").prints("total  recorded $0");
        site.aos(&["recost", "nobody"]).exits(1).says("ERR_NOT_FOUND");
    });
}

#[test]
fn the_registry_is_looked_after() {
    on_every_site(|site| {
        let hash = site.aos(&["registry", "snapshot"]).exits(0).out.trim().to_owned();
        assert_eq!(hash.len(), 64, "{hash}");
        site.aos(&["registry", "snapshots"]).exits(0).prints(&hash).prints("skills, 0 workflows");
        let disable = ["registry", "disable", "skill", "http_call@1.0.0", "--reason", "it leaks"];
        site.aos(&disable).exits(0).prints("http_call@1.0.0 is out of use");
        site.aos(&["registry", "list"]).exits(0).prints("(disabled)");
        site.aos(&["registry", "audit", "--limit", "1"]).exits(0).prints("disable   skill http_call@1.0.0  (it leaks)");
        site.aos(&["registry", "rollback", &hash[..12]]).exits(0).prints("skill http_call@1.0.0");
        assert!(!site.aos(&["registry", "list"]).exits(0).out.contains("(disabled)"));
        site.aos(&disable).exits(0);
        site.aos(&["registry", "enable", "skill", "http_call@1.0.0"]).exits(0).prints("is in use");
        site.aos(&["registry", "enable", "workflow", "nothing@1.0.0"]).exits(1).says("ERR_NOT_FOUND");
        site.aos(&["registry", "rollback", "00000000"]).exits(1).says("there is no snapshot");
        site.aos(&["registry", "rollback", "xyz"]).exits(2).says("at least 8 hex digits");
        site.aos(&["registry", "export", "--to", "all.json"]).exits(0);
        site.aos(&["registry", "import", "all.json", "--dry-run"]).exits(0).prints("added: 0");
    });
}

/// What a command brings along is not the installation's: it neither registers its skills nor changes tables.
#[test]
fn tables_are_changed_when_that_is_asked_for_only() {
    let place = Place::new();
    let database = Postgres::shared().database().unwrap();
    let old = place.path("old.db");
    let sqlite = rusqlite::Connection::open(&old).unwrap();
    sqlite.execute_batch(include_str!("../migrations/sqlite/0001_init.sql")).unwrap();
    sqlite.execute_batch("PRAGMA application_id = 1095717681; PRAGMA user_version = 1").unwrap();
    drop(sqlite);
    for (db, creates, lacks) in [(database.url.as_str(), "CREATE TABLE run", 0), ("old.db", "ALTER TABLE run", 1)] {
        let aos = |args: &[&str]| place.aos(&[args, &["--db", db]].concat());
        aos(&["runs", "list"]).exits(1).says("`aos-server migrate` makes them");
        let dry = aos(&["migrate", "--dry-run"]).exits(0).prints("lacks").prints(creates).prints("Priorities, delayed");
        assert!(!dry.out.contains("has now"), "{}", dry.out);
        let json = aos(&["migrate", "--dry-run", "-o", "json"]).exits(0).json();
        let latest = json["release_version"].as_u64().unwrap();
        assert_eq!(json["changes"].as_array().unwrap().len() as u64, latest - lacks, "{json}");
        assert_eq!(json["changes"][0]["version"], lacks + 1, "{json}");
        aos(&["runs", "list"]).exits(1);
        aos(&["migrate"]).exits(0).prints("has now");
        for args in [&["migrate"][..], &["migrate", "--dry-run"]] {
            aos(args).exits(0).prints("the tables are those of this release");
        }
        aos(&["runs", "list"]).exits(0).prints("no runs");
        assert_eq!(aos(&["registry", "list", "-o", "json"]).exits(0).json(), json!([]));
    }
    // From the setting, and for a file that is not there yet.
    let mut command = place.command(&["migrate", "--dry-run"]);
    cli_support::run(command.env("DATABASE_URL", &database.url), b"").exits(0).prints(&database.name);
    place.aos(&["migrate", "--dry-run", "--db", "new.db"]).exits(0).prints("CREATE TABLE run");
    assert!(!place.path("new.db").exists());
    place.aos(&["migrate", "--db", "new.db"]).exits(0).prints("has now");
    place.aos(&["runs", "list", "--db", "new.db"]).exits(0);
}

#[test]
fn a_database_that_can_not_be_used_is_named_without_its_password() {
    let place = Place::new();
    let wrong = format!("mysql://nova:{PASSWORD}@127.0.0.1/aos");
    let closed = format!("postgres://nova:{PASSWORD}@127.0.0.1:1/aos");
    let nameless = format!("postgres://nova:{PASSWORD}@127.0.0.1:1");
    for (db, code, says) in [
        (wrong.as_str(), 2, "the value is not `sqlite://<path>` or"),
        (closed.as_str(), 3, "127.0.0.1:1/aos"),
        (nameless.as_str(), 2, "lacks a host or a database"),
        ("sqlite://nowhere/none.db", 2, "nowhere/none.db"),
        ("nowhere/none.db", 2, "nowhere/none.db"),
    ] {
        for args in [&["runs", "list"][..], &["queue"], &["registry", "list"]] {
            let done = place.aos(&[args, &["--db", db]].concat()).exits(code).says(says);
            assert!(!done.err.contains(PASSWORD) && !done.out.contains(PASSWORD), "{done:?}");
        }
    }
}
