//! The settings page of the book, generated from the table.

use std::fmt::Write as _;

use crate::config::table::GROUPS;

/// The text of `docs/src/settings.md`.
pub fn settings_page() -> String {
    let mut page = String::from(
        "# Settings\n\n\
         <!-- Generated from aos-server/src/config/table.rs: `AOS_BLESS=1 cargo test -p aos-server settings_page` rewrites it. -->\n\n\
         Settings come from the environment, from the file that `AOS_CONFIG` names (TOML, the same keys), and from flags; \
         flags win over the environment, the environment over the file. An empty value counts as not set. A wrong value \
         stops the start, and all wrong values are named at once, each with an example. An unknown key in the file \
         stops the start too; an unknown `AOS_` key in the environment is a warning with the nearest known one.\n",
    );
    for (title, settings) in GROUPS {
        // Writing to a `String` can't fail.
        let _ = write!(page, "\n## {title}\n\n| key | default | value | meaning |\n|---|---|---|---|\n");
        for setting in *settings {
            let default = setting.default.map_or_else(|| "not set".to_owned(), |value| format!("`{value}`"));
            let cell = |text: &str| text.replace('|', "\\|");
            let _ = writeln!(
                page,
                "| `{}` | {default} | {}; for example `{}` | {} |",
                setting.key,
                cell(setting.expected),
                cell(setting.example),
                cell(setting.meaning)
            );
        }
    }
    page
}
