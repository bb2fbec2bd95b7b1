//! The page of error codes is made from the table in code: `AOS_BLESS=1 cargo test -p aos-core --test error_table` writes
//! it, a plain run compares.

#![allow(clippy::disallowed_methods, reason = "this test compares and writes a page; the ban is for the core itself")]

use std::fmt::Write;
use std::path::Path;

use aos_core::codes;
use aos_core::error::{Category, Severity};

#[test]
fn the_page_of_error_codes_is_current() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/src/errors.md");
    let page = page();
    if std::env::var_os("AOS_BLESS").is_some_and(|value| value == "1") {
        assert!(std::env::var_os("CI").is_none(), "CI compares, and never writes");
        std::fs::write(&file, page).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        kept == page,
        "docs/src/errors.md is not what the table in aos-core/src/error.rs says:\n{}\nWrite it anew with \
         `AOS_BLESS=1 cargo test -p aos-core --test error_table`.",
        first_difference(&kept, &page)
    );
}

fn page() -> String {
    let mut page = String::from(
        "# Errors\n\n<!-- Made from aos-core/src/error.rs: AOS_BLESS=1 cargo test -p aos-core --test error_table -->\n\n\
         Every failure carries a stable code, in the journal, in the API (RFC 9457 problem documents, member `code`), on\n\
         the command line and in logs. A code never changes its meaning. What went wrong in particular is in the message\n\
         and, for programs, in `details`. Skills may return codes of their own; they count as `skill`, not retryable,\n\
         unless the skill says otherwise.\n\n\
         *Retryable* is the default: a failure says for itself whether the same request may succeed later.\n",
    );
    let categories = [
        (Category::Input, "The caller sent something wrong"),
        (Category::Workflow, "The definition or the workflow's code is wrong"),
        (Category::Skill, "A skill failed for a reason of its own"),
        (Category::Llm, "The model or its provider"),
        (Category::Limit, "A bound was reached: budget, time, size, rate"),
        (Category::Replay, "Journal and program disagree, or a journal is damaged"),
        (Category::Host, "A store or another part of the host failed"),
        (Category::Operator, "Somebody asked for it: cancelled, switched off"),
        (Category::Internal, "A fault of AOS itself"),
    ];
    let mut listed = 0;
    for (category, heading) in categories {
        // Writing to a string can't fail.
        let _ = write!(page, "\n## {heading}\n\n");
        page.push_str("| code | meaning | what to do | retryable | severity | HTTP |\n|---|---|---|---|---|---|\n");
        for info in codes::ALL.iter().filter(|info| info.category == category) {
            let retryable = if info.retryable { "yes" } else { "no" };
            let severity = match info.severity {
                Severity::Info => "info",
                Severity::Warning => "warning",
                Severity::Error => "error",
            };
            let (meaning, action) = (cell(info.meaning), cell(info.action));
            let _ = writeln!(
                page,
                "| `{}` | {meaning} | {action} | {retryable} | {severity} | {} |",
                info.code, info.http_status
            );
            listed += 1;
        }
    }
    assert_eq!(listed, codes::ALL.len(), "a category has no heading");
    page
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn first_difference(kept: &str, page: &str) -> String {
    let line = kept.lines().zip(page.lines()).position(|(kept, page)| kept != page);
    let line = line.unwrap_or_else(|| kept.lines().count().min(page.lines().count()));
    let at = |text: &str| text.lines().nth(line).unwrap_or("(nothing)").to_owned();
    format!("line {}\n  there is  {}\n  should be {}", line + 1, at(kept), at(page))
}
