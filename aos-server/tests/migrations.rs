//! A change of Postgres' tables only adds, so that processes of the release before it go on working while they are
//! replaced by new ones, and may take over again.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

/// What would take something away from a process that does not know of the change, or ask something new of it.
const TAKES_AWAY: [&str; 9] = [
    "drop column",
    "drop table",
    "drop function",
    "drop trigger",
    "drop default",
    "rename",
    "set not null",
    "add constraint",
    " type ",
];

/// What a change does that processes of the release before it can't live with.
fn faults(sql: &str) -> Vec<String> {
    let text: Vec<_> = sql.lines().map(|line| line.split("--").next().unwrap()).collect();
    // Bodies of functions are not changes. They stand between two `$$`.
    let text: String = text.join(" ").split("$$").step_by(2).collect();
    let words: Vec<_> = text.split_whitespace().map(str::to_lowercase).collect();
    let text = words.join(" ");
    let created: Vec<_> =
        text.split("create table ").skip(1).filter_map(|rest| rest.split([' ', '(']).next()).collect();
    let mut faults = Vec::new();
    for statement in text.split(';').map(str::trim).filter(|statement| !statement.is_empty()) {
        let of_new_table = statement.starts_with("create table ");
        let found = TAKES_AWAY.into_iter().filter(|what| !of_new_table && format!("{statement} ").contains(what));
        faults.extend(found.map(|what| format!("{what}: {statement}")));
        if statement.starts_with("alter table ") {
            let columns = statement.split("add column ").skip(1);
            let asked = columns.filter(|column| column.contains("not null") && !column.contains("default"));
            faults.extend(asked.map(|column| format!("not null without a default: {column}")));
        }
        if let Some(index) = statement.strip_prefix("create unique index ") {
            let table = index.split_once(" on ").unwrap().1.split([' ', '(']).next().unwrap();
            if !created.contains(&table) {
                faults.push(format!("a new rule for a table that is there: {statement}"));
            }
        }
    }
    faults
}

#[test]
fn changes_of_the_tables_only_add() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/postgres");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 3, "the changes are not where this test looks");
    for file in files {
        assert_eq!(faults(&std::fs::read_to_string(&file).unwrap()), Vec::<String>::new(), "{}", file.display());
    }
}

#[test]
fn what_takes_something_away_is_found() {
    for sql in [
        "ALTER TABLE run DROP COLUMN seed;",
        "ALTER TABLE run\n    ADD COLUMN a text,\n    DROP COLUMN seed",
        "ALTER TABLE run RENAME COLUMN seed TO sown;",
        "ALTER TABLE run RENAME TO runs;",
        "ALTER TABLE run ALTER COLUMN seed TYPE text;",
        "ALTER TABLE run ALTER COLUMN worker SET NOT NULL;",
        "ALTER TABLE run ALTER COLUMN cost DROP DEFAULT;",
        "ALTER TABLE run ADD COLUMN a bigint NOT NULL;",
        "ALTER TABLE run ADD COLUMN a bigint DEFAULT 1, ADD COLUMN b text NOT NULL;",
        "ALTER TABLE run ADD CONSTRAINT one CHECK (seed > 0);",
        "CREATE UNIQUE INDEX one ON run (tenant, seed);",
        "CREATE TABLE other (id bigint); DROP TABLE run;",
        "DROP FUNCTION aos_now();",
    ] {
        assert_ne!(faults(sql), Vec::<String>::new(), "{sql}");
    }
    for sql in [
        "-- DROP COLUMN is what we don't do.\nALTER TABLE run ADD COLUMN a bigint NOT NULL DEFAULT 1, ADD COLUMN b text;",
        "CREATE TABLE a (id bigint NOT NULL, type text); CREATE UNIQUE INDEX one ON a (id); CREATE INDEX two ON run (seed);",
        "DROP INDEX run_open; ALTER FUNCTION f() SET search_path FROM CURRENT;",
        "CREATE FUNCTION f() RETURNS trigger AS $$ BEGIN DROP TABLE passing; END $$;",
    ] {
        assert_eq!(faults(sql), Vec::<String>::new(), "{sql}");
    }
}
