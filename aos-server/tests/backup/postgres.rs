//! Backups of Postgres, by `pg_dump` and `psql`.

use std::path::Path;

use aos_testkit::service::Postgres;
use serde_json::Value;

use crate::ledger::Ledger;
use crate::runs::{create, finish, serve, undisturbed, until_under_way};
use crate::{PAGE, Place};

const BACK_UP: &str = "pg_dump -h localhost -p 5433 -U nova nova_aos > backup/aos_$(date +%Y%m%d).sql";
const VERIFY: &str = r#"psql -h localhost -p 5433 -U nova -d nova_aos -c "SELECT COUNT(*) FROM skills;""#;
const RESTORE: &str = "psql -h localhost -p 5433 -U nova -d restored -q < backup/aos_$(date +%Y%m%d).sql";
const BACK_UP_SKILLS: &str = "pg_dump -h localhost -p 5433 -U nova -t skills nova_aos > backup/skills_registry.sql";
const BACK_UP_SKILLS_WHOLE: &str =
    "pg_dump -h localhost -p 5433 -U nova --clean --if-exists -t skills nova_aos > backup/skills_registry.sql";
const RESTORE_SKILLS: &str = "psql -h localhost -p 5433 -U nova -d nova_aos < backup/skills_registry.sql";
const EXPORT: &str = "aos-server registry export > backup/registry_$(date +%Y%m%d).json";

/// The number below a heading, as `psql` prints it.
fn count((printed, _): (String, String)) -> usize {
    let mut lines = printed.lines().map(str::trim).skip_while(|line| *line != "count").skip(2);
    lines.next().unwrap_or_else(|| panic!("no count: {printed}")).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_go_on_from_a_restored_dump() {
    for line in [BACK_UP, VERIFY, BACK_UP_SKILLS_WHOLE, RESTORE_SKILLS, EXPORT] {
        assert!(PAGE.contains(line), "the book does not say {line}");
    }
    let server = Postgres::shared();
    let sql = |database: &str, sql: &str| server.sql(database, sql).unwrap();
    sql("postgres", "CREATE ROLE nova LOGIN CREATEDB");
    sql("postgres", "CREATE DATABASE nova_aos OWNER nova");
    let psql = server.client("psql");
    let programs = Path::new(psql.get_program()).parent().unwrap();
    let url = |database: &str| format!("postgres://nova@localhost:{}/{database}", server.port());

    let ledger = Ledger::start().await;
    let expected = undisturbed(&ledger).await;
    ledger.set_open(false);
    let mut first = serve(&url("nova_aos"), &ledger);
    let place = Place::new(
        programs,
        vec![("5433", server.port().to_string()), ("aos-server ", format!("AOS_URL={} aos-server ", first.url))],
    );
    let runs = create(&first.api(), &ledger).await;
    until_under_way(&first.api()).await;

    place.line(BACK_UP);
    place.line(BACK_UP_SKILLS);
    place.line(EXPORT);
    let skills = first.api().get("/v1/skills").await["skills"].as_array().unwrap().clone();
    assert_eq!(count(place.line(VERIFY)), skills.len());
    let (exported, _) = place.line("cat backup/registry_*.json");
    let exported: Value = serde_json::from_str(&exported).unwrap();
    let exported: Vec<_> =
        exported["skills"].as_array().unwrap().iter().map(|s| s["contract"]["skill"].clone()).collect();
    assert_eq!(exported, skills.iter().map(|skill| skill["skill"].clone()).collect::<Vec<_>>());
    first.kill();

    place.line("createdb -h localhost -p 5433 -U nova restored");
    assert_eq!(place.line(RESTORE).1, "");
    let states = sql("restored", "SELECT DISTINCT state FROM run ORDER BY state");
    assert!(["parked", "queued", "running"].iter().all(|state| states.contains(state)), "{states}");
    ledger.set_open(true);
    let second = serve(&url("restored"), &ledger);
    assert_eq!(finish(&second.api(), &runs).await, expected);
    assert!(!second.log().contains("ERROR"), "{}", second.log());

    // The registry alone, into the first database, which has lost it.
    sql("nova_aos", "DELETE FROM skills");
    assert_eq!(count(place.line(VERIFY)), 0);
    place.line(RESTORE_SKILLS);
    assert_eq!(count(place.line(VERIFY)), skills.len());
    // By a dump that takes the place of what is there.
    place.line(BACK_UP_SKILLS_WHOLE);
    sql("nova_aos", "DELETE FROM skills WHERE id = 'echo'; UPDATE skills SET contract = '{}'");
    place.line(RESTORE_SKILLS);
    assert_eq!(count(place.line(VERIFY)), skills.len());
    let third = serve(&url("nova_aos"), &ledger);
    assert_eq!(third.api().get("/v1/skills").await["skills"], Value::Array(skills));
    assert_eq!(finish(&third.api(), &runs).await, expected, "and so do those of the database that was backed up");
}
