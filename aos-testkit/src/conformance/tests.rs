//! No clause is forgotten.

#[test]
fn every_clause_is_in_the_macro() {
    let emitted = include_str!("mod.rs");
    for (suite, source) in [
        ("blob", include_str!("blob.rs")),
        ("cache", include_str!("cache.rs")),
        ("journal", include_str!("journal.rs")),
        ("limiter", include_str!("limiter.rs")),
        ("registry", include_str!("registry.rs")),
        ("schedules", include_str!("schedules.rs")),
        ("slots", include_str!("slots.rs")),
        ("switches", include_str!("switches.rs")),
        ("workers", include_str!("workers.rs")),
        (
            "runs",
            concat!(
                include_str!("runs/create.rs"),
                include_str!("runs/lease.rs"),
                include_str!("runs/inbox.rs"),
                include_str!("runs/list.rs"),
                include_str!("runs/queue.rs"),
                include_str!("runs/end.rs")
            ),
        ),
    ] {
        let written: Vec<&str> = source
            .lines()
            .filter_map(|line| line.strip_prefix("pub async fn "))
            .filter_map(|rest| rest.split_once('('))
            .map(|(name, _)| name)
            .collect();
        let (_, rest) = emitted.split_once(&format!("@suite {suite}, $backend,")).unwrap();
        let (clauses, _) = rest.split_once('}').unwrap();
        let emitted: Vec<&str> = clauses.split_whitespace().collect();
        assert_eq!(emitted, written, "of suite {suite}");
    }
}
