//! The registry restored by psql from a dump of the table `skills`, as an operator does it beside running servers.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use aos_server::config::{Config, Sources, table};
use aos_server::server::{Running, Server};
use aos_testkit::service::{Database, Postgres};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use serde_json::{Value, json};
use tower::ServiceExt as _;

/// Against hangs only: servers look four times a second, and once a second after an error.
const PATIENCE: Duration = Duration::from_secs(30);

/// One of several servers on the database.
struct Process {
    router: Router,
    running: Running,
}

impl Process {
    async fn start(database: &Database) -> Self {
        let sources = Sources::default().flag(&table::DATABASE_URL, Some(&database.url));
        let config = Config::load(&sources).unwrap();
        let (server, _) = Server::from_config(&config).await.unwrap();
        Self { router: server.router(), running: server.start(aos_server::server::Role::Serve) }
    }

    async fn ask(&self, request: Request<Body>) -> Value {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    async fn skills(&self) -> Value {
        self.ask(Request::get("/v1/skills").body(Body::empty()).unwrap()).await["skills"].clone()
    }

    /// Waits until the process shows these skills.
    async fn shows(&self, skills: &Value, about: &str) {
        let began = Instant::now();
        loop {
            let shown = self.skills().await;
            if shown == *skills {
                println!("{about}: seen after {:?}", began.elapsed());
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{about}: {shown:#}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn runs_echo(&self, about: &str) {
        let body = json!({"workflow": {"id": "hello", "steps": [{"id": "greet", "skill": "echo", "params": "Ada"}]}});
        let request = Request::post("/v1/runs?wait=30s").header("content-type", "application/json");
        let run = self.ask(request.body(Body::from(body.to_string())).unwrap()).await;
        assert_eq!(run["state"], "succeeded", "{about}: {run}");
    }
}

fn dump(database: &Database, options: &[&str]) -> Vec<u8> {
    let output = Postgres::shared().client("pg_dump").args(options).arg("--table=skills").arg(&database.name).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// `psql -d database < dump`; gives what it complains about.
fn restore(database: &Database, options: &[&str], dump: &[u8]) -> String {
    let mut psql = Postgres::shared().client("psql");
    psql.args(["-X", "-q", "-d", &database.name]).args(options);
    let mut psql = psql.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    psql.stdin.take().unwrap().write_all(dump).unwrap();
    String::from_utf8(psql.wait_with_output().unwrap().stderr).unwrap()
}

fn without(skills: &Value, id: &str) -> Value {
    skills.as_array().unwrap().iter().filter(|skill| skill["id"] != id).cloned().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_dump_of_the_table_reaches_every_server() {
    let database = Postgres::shared().database().unwrap();
    let sql = |sql: &str| Postgres::shared().sql(&database.name, sql).unwrap();
    let processes = [Process::start(&database).await, Process::start(&database).await];
    let before = processes[0].skills().await;
    assert!(before.as_array().unwrap().iter().all(|skill| skill["executable"] == true), "{before}");
    let runbook = dump(&database, &[]);
    for (name, damage, damaged, psql, dump) in [
        ("as in the runbook", "DELETE FROM skills", json!([]), &[][..], runbook.clone()),
        ("emptied at once", "TRUNCATE skills", json!([]), &[], dump(&database, &["--data-only"])),
        (
            "with rows",
            "DELETE FROM skills WHERE id = 'echo'",
            without(&before, "echo"),
            &[],
            dump(&database, &["--clean"]),
        ),
        ("in one transaction", "DELETE FROM skills", json!([]), &["-1"], dump(&database, &["--clean"])),
        ("in the new table", "DELETE FROM skills", json!([]), &["-1"], dump(&database, &["--data-only"])),
        (
            "row by row",
            "DELETE FROM skills WHERE id = 'echo'",
            without(&before, "echo"),
            &[],
            dump(&database, &["--data-only", "--inserts", "--on-conflict-do-nothing"]),
        ),
        (
            "with the triggers off",
            "DELETE FROM skills",
            json!([]),
            &[],
            dump(&database, &["--data-only", "--disable-triggers"]),
        ),
    ] {
        sql(damage);
        for process in &processes {
            process.shows(&damaged, &format!("{name}, damaged")).await;
        }
        let complaints = restore(&database, psql, &dump);
        for process in &processes {
            process.shows(&before, &format!("{name} ({complaints:?})")).await;
            process.runs_echo(name).await;
        }
        let triggers =
            sql("SELECT tgname, tgenabled FROM pg_trigger WHERE tgrelid = 'skills'::regclass AND NOT tgisinternal");
        assert_eq!(triggers.trim(), "skills_changed|O", "{name}");
    }

    // Into a table that has the rows, a dump that does not drop it is refused whole, and nothing is worse than before.
    sql("UPDATE skills SET status = 'disabled', reason = 'by hand' WHERE id = 'echo'");
    let is_echo = |skill: &&Value| skill["id"] == "echo";
    for _ in 0..2 {
        for process in &processes {
            let began = Instant::now();
            while process.skills().await.as_array().unwrap().iter().find(is_echo).unwrap()["enabled"] == true {
                assert!(began.elapsed() < PATIENCE);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        let complaints = restore(&database, &[], &runbook);
        assert!(complaints.contains("duplicate key"), "{complaints}");
    }
    sql("UPDATE skills SET status = 'enabled', reason = NULL WHERE id = 'echo'");
    for process in processes {
        process.shows(&before, "put right by hand").await;
        process.running.stop().await;
    }
}
