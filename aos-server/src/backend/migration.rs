//! Changes of the tables, from one release to the next.

/// A change of the tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migration {
    /// Its number.
    pub version: i64,
    /// What it does: the comment that its SQL begins with.
    pub description: String,
    /// Its SQL.
    pub sql: String,
}

impl Migration {
    /// A change by its number and SQL.
    pub(super) fn new(version: i64, sql: &str) -> Self {
        let comment = sql.lines().map_while(|line| line.strip_prefix("--")).map(str::trim);
        // Up to the first empty line of it.
        let head: Vec<_> = comment.take_while(|line| !line.is_empty()).collect();
        Self { version, description: head.join(" "), sql: sql.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_described_by_its_first_comment() {
        for (sql, description) in [
            ("-- One.\n-- Two.\n\nSELECT 1;\n-- Three.", "One. Two."),
            ("-- One.\n--\n-- Two.\n", "One."),
            ("SELECT 1;\n-- One.", ""),
            ("", ""),
        ] {
            assert_eq!(Migration::new(1, sql).description, description, "{sql:?}");
        }
    }
}
