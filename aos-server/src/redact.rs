//! Takes secrets out of text before it is written where others read it: by the name they go by, by their form, and by
//! value where this process holds them itself.
//!
//! It is for what was not foreseen; what is known to be secret is a [`Secret`](crate::config::Secret) and is not
//! written at all. A secret in another encoding (base64, percent) is not recognized.

use std::borrow::Cow;
use std::sync::{LazyLock, PoisonError, RwLock};

use regex::{Captures, Regex};
use serde_json::Value;

/// What stands in a secret's place.
pub const REDACTED: &str = "[redacted]";

/// The text without secrets; borrowed when there are none.
#[must_use]
pub fn text(text: &str) -> Cow<'_, str> {
    let mut clean = Cow::Borrowed(text);
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
    let mut learned = LEARNED.write().unwrap_or_else(PoisonError::into_inner);
    if !learned.iter().any(|known| known == secret) {
        learned.push(secret.to_owned());
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
        r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z)",
        // The password in a URL; an empty user is Redis' way.
        r#"(?P<before>\b[A-Za-z][A-Za-z0-9+.-]*://[^\s:/@"'\\]*:)[^\s/@"'\\]+(?P<after>@)"#,
        r"(?i)(?P<before>\bbearer\s+)[\w.~+/=-]{8,}",
        // Of model providers and of this server.
        r"\bsk-[\w-]{12,}",
        r"\baos_[0-9a-f]+_[0-9a-z]{16,}",
        r"\beyJ[\w-]{5,}\.[\w-]{5,}\.[\w-]*",
        r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
        r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|xox[abposr]-[\w-]{10,}|AIza[\w-]{35}|[sr]k_(?:live|test)_\w{10,})",
        // Cookies go on behind a semicolon, to the end of the quotes or the line.
        r#"(?i)(?P<before>\bcookie\\*["']?\s*[:=]\s*\\*["']?)[^"'\\\r\n]+"#,
        // `name=value`, `name: value`, `"name":"value"`, and the last in quotes itself.
        concat!(r#"(?i)(?P<before>\b"#, names!(), r#"\\*["']?\s*[:=]\s*\\*["'])[^"'\\]+"#),
        concat!(
            r#"(?i)(?P<before>\b"#,
            names!(),
            r#"\\*["']?\s*[:=]\s*(?:(?:basic|bearer|digest)\s+)?)[^\s"'\\,;&(){}\[\]]+"#
        ),
    ]
    .map(compiled)
    .into()
});

#[expect(clippy::expect_used, reason = "the patterns are constants, and a test uses each")]
fn compiled(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a constant pattern")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Text with a secret (`CANARY`, or what is made of it), and what may not be left of it.
    const SECRETS: &[(&str, &str)] = &[
        ("Authorization: Bearer canary0123456789", "canary"),
        ("authorization: Basic Y2FuYXJ5OnB3", "Y2Fu"),
        ("refused key sk-ant-api03-canary_0123456789", "canary"),
        ("refused key aos_0123456789ab_canary0123456789abcdef", "canary"),
        ("refused key sk-proj-canary0123456789", "canary"),
        ("can't reach postgres://aos:canary@db:5432/aos", "canary"),
        ("can't reach rediss://:canary@cache:6379/0", "canary"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJl", "c2lnbmF0dXJl"),
        ("AKIAIOSFODNN7CANARY0 was refused", "CANARY"),
        ("aws_secret_access_key=canary/0123", "canary"),
        ("ghp_canary0123456789canary0123456789", "canary"),
        ("xoxb-canary-0123456789", "canary"),
        ("sk_live_canary0123456789", "canary"),
        ("-----BEGIN RSA PRIVATE KEY-----\ncanary\n-----END RSA PRIVATE KEY-----", "canary"),
        ("-----BEGIN PRIVATE KEY-----\ncanary, cut", "canary"),
        ("Set-Cookie: a=canary1; b=canary2", "canary"),
        ("password=canary", "canary"),
        ("user=a&client_secret=canary&x=1", "canary"),
        (r#"{"api_key":"canary and more"}"#, "canary"),
        (r#"input="{\"password\":\"canary\"}""#, "canary"),
        ("x-api-key: canary", "canary"),
        ("refresh_token: 'canary'", "canary"),
    ];

    #[test]
    fn secrets_are_taken_out_of_text() {
        for (line, rest) in SECRETS {
            let clean = text(line);
            assert!(!clean.contains(rest) && clean.contains(REDACTED), "{line:?} became {clean:?}");
        }
    }

    #[test]
    fn other_text_stays_as_it_is() {
        for line in [
            "request_id=abc123 run ended cost_cents=12.5 code=ERR_LLM_AUTH_FAILED",
            "input_tokens=12 output_tokens=30 max_tokens: 100",
            "health and metrics on http://127.0.0.1:8080",
            "Postgres at db:5432 user@example.org",
            "aos_rate_limiter_degraded 1, aos_llm_unpriced_calls_total 0",
            "key=ops idempotency_key=order-17",
            r#"{"tokens": 5, "path": "a/b"}"#,
        ] {
            assert!(matches!(text(line), Cow::Borrowed(_)), "{line:?} became {:?}", text(line));
        }
    }

    #[test]
    fn values_lose_secrets_by_name_by_form_and_in_json_within_text() {
        let mut value = json!({
            "password": "canary", "token": 123_456, "credentials": {"user": "canary"}, "secret": null,
            "list": [{"Api-Key": ["canary"]}, "Bearer canary0123456789"],
            "input": "{\"to\":\"a\",\"password\":\"ca\\\"nary\"}", "input_tokens": 7,
        });
        json(&mut value);
        let expected = json!({
            "password": REDACTED, "token": REDACTED, "credentials": REDACTED, "secret": null,
            "list": [{"Api-Key": REDACTED}, "Bearer [redacted]"],
            "input": "{\"password\":\"[redacted]\",\"to\":\"a\"}", "input_tokens": 7,
        });
        assert_eq!(value, expected);
    }

    #[test]
    fn what_was_learned_is_recognized_anywhere() {
        assert_eq!(text("a plain-canary-17 z"), "a plain-canary-17 z");
        learn("plain-canary-17");
        learn("short");
        assert_eq!(text("a plain-canary-17 z, short"), "a [redacted] z, short");
    }
}
