//! Takes secrets out of text before it is written where others read it: by the name they go by, by their form, and by
//! value where this process holds them itself; plain, within JSON, or in one of the usual encodings.
//!
//! It is for what was not foreseen; what is known to be secret is a [`Secret`](crate::config::Secret) and is not
//! written at all.

mod encoded;

use std::borrow::Cow;
use std::sync::{LazyLock, PoisonError, RwLock};

use regex::{Captures, Regex, RegexBuilder};
use serde_json::Value;

/// What stands in a secret's place.
pub const REDACTED: &str = "[redacted]";

/// The text without secrets; borrowed when there are none.
#[must_use]
pub fn text(text: &str) -> Cow<'_, str> {
    let mut clean = encoded::text(text, &has_secret);
    for known in LEARNED.read().unwrap_or_else(PoisonError::into_inner).iter() {
        if clean.contains(known.as_str()) {
            clean = Cow::Owned(clean.replace(known.as_str(), REDACTED));
        }
    }
    for rule in RULES.iter() {
        let replaced = rule.replace_all(&clean, |found: &Captures<'_>| {
            let part = |name| found.name(name).map_or("", |part| part.as_str());
            format!("{}{REDACTED}{}", part("before"), part("after"))
        });
        if let Cow::Owned(replaced) = replaced {
            clean = Cow::Owned(replaced);
        }
    }
    clean
}

fn has_secret(text: &str) -> bool {
    LEARNED.read().unwrap_or_else(PoisonError::into_inner).iter().any(|known| text.contains(known.as_str()))
        || RULES.iter().any(|rule| rule.is_match(text))
}

/// Takes secrets out of a value: what stands under a secret's name whole, and the rest as text. Text that is JSON itself
/// is looked at as such.
pub fn json(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::Null | Value::Bool(_) => {}
                    _ if NAME.is_match(name) => *member = REDACTED.into(),
                    _ => json(member),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(json),
        Value::String(words) => {
            if words.starts_with(['{', '['])
                && let Ok(mut inner) = serde_json::from_str::<Value>(words)
            {
                json(&mut inner);
                *words = inner.to_string();
            }
            if let Cow::Owned(clean) = text(words) {
                *words = clean;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Remembers a secret for as long as the process lives, so that it is recognized whatever its form. Ones of fewer than 8
/// bytes are not: taking them out would garble other text.
pub fn learn(secret: &str) {
    if secret.len() < 8 {
        return;
    }
    // As it stands within JSON, too.
    let quoted = Value::from(secret).to_string();
    let mut learned = LEARNED.write().unwrap_or_else(PoisonError::into_inner);
    for form in [secret, quoted.trim_matches('"')] {
        if !learned.iter().any(|known| known == form) {
            learned.push(form.to_owned());
        }
    }
}

static LEARNED: RwLock<Vec<String>> = RwLock::new(Vec::new());

/// Names that secrets go by, alone or at the end of a longer one. `tokens` is a number of them, and not secret.
macro_rules! names {
    () => {
        r"(?:[\w-]*(?:password|passwd|passphrase|secret|secret[_-]?(?:key|value)|api[_-]?key|access[_-]?key|private[_-]?key|authorization|cookie|credentials?|token)|pwd)"
    };
}

static NAME: LazyLock<Regex> = LazyLock::new(|| compiled(concat!("(?i)^", names!(), "$")));

static RULES: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    [
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?su:.)*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z)",
        // The password in a URL; an empty user is Redis' way.
        r#"(?P<before>\b[A-Za-z][A-Za-z0-9+.-]*://(?u:[^\s:/@"'\\])*:)(?u:[^\s/@"'\\])+(?P<after>@)"#,
        r"(?i)(?P<before>\bbearer\s+)[\w.~+/=-]{8,}",
        // Of model providers and of this server.
        r"\bsk-[\w-]{12,}",
        r"\baos_[0-9a-f]+_[0-9a-z]{16,}",
        r"\beyJ[\w-]{5,}\.[\w-]{5,}\.[\w-]*",
        r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
        r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|xox[abposr]-[\w-]{10,}|AIza[\w-]{35}|[sr]k_(?:live|test)_\w{10,})",
        // Cookies go on behind a semicolon, to the end of the quotes or the line.
        r#"(?i)(?P<before>\bcookie\\*["']?\s*[:=]\s*\\*["']?)(?u:[^"'\\\r\n])+"#,
        // `name=value`, `name: value`, `"name":"value"`, and the last in quotes itself.
        concat!(r#"(?i)(?P<before>\b"#, names!(), r#"\\*["']?\s*[:=]\s*\\*["'])(?u:[^"'\\])+"#),
        concat!(
            r#"(?i)(?P<before>\b"#,
            names!(),
            r#"\\*["']?\s*[:=]\s*(?:(?:basic|bearer|digest)\s+)?)(?u:[^\s"'\\,;&(){}\[\]])+"#
        ),
    ]
    .map(compiled)
    .into()
});

/// A pattern whose classes are of ASCII, but for the negated ones, which say `(?u:…)`: with the letters of all languages
/// the rules would take 20 MB of an idle server.
#[expect(clippy::expect_used, reason = "the patterns are constants, and a test uses each")]
fn compiled(pattern: &str) -> Regex {
    RegexBuilder::new(pattern).unicode(false).build().expect("a constant pattern")
}

#[cfg(test)]
mod tests;
