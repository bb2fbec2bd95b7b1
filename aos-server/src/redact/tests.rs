//! What is taken out, and what is left alone.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
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

/// Kinds of secrets: as they may stand in a text, and what may not be left of that.
const KINDS: [(&str, &str); 12] = [
    ("sk-ant-api03-canary_0123456789", "canary_0123456789"),
    ("sk-proj-canary0123456789", "canary0123456789"),
    ("aos_0123456789abcdef_canary0123456789abcdef", "canary0123456789abcdef"),
    ("AKIAIOSFODNN7CANARY0", "IOSFODNN7CANARY0"),
    ("ghp_canary0123456789canary0123456789", "canary0123456789canary0123456789"),
    ("xoxb-canary-0123456789", "canary-0123456789"),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJl", "eyJzdWIiOiJjYW5hcnkifQ"),
    ("Bearer canary0123456789", "canary0123456789"),
    ("postgres://aos:canary-password@db:5432/aos", "canary-password"),
    ("-----BEGIN PRIVATE KEY-----\ncanary/0123456789\n-----END PRIVATE KEY-----", "canary/0123456789"),
    ("client_secret=canary-0123456789", "canary-0123456789"),
    // No form and no name: this process knows it.
    ("Zq7-canary-Zq7", "Zq7-canary-Zq7"),
];

type Encoding = (&'static str, fn(&str) -> String);

const ENCODINGS: [Encoding; 8] = [
    ("plain", str::to_owned),
    ("a string of JSON", |text| Value::from(text).to_string()),
    ("JSON within JSON", |text| Value::from(json!({"input": text}).to_string()).to_string()),
    ("percent", |text| {
        let encode = |byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        };
        text.bytes().map(encode).collect()
    }),
    ("base64", |text| STANDARD.encode(text)),
    ("base64 for URLs", |text| URL_SAFE_NO_PAD.encode(text)),
    ("hex", |text| text.bytes().map(|byte| format!("{byte:02x}")).collect()),
    ("escapes of JSON", |text| text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect()),
];

#[test]
fn every_kind_of_secret_is_found_in_every_encoding() {
    learn("Zq7-canary-Zq7");
    for (secret, core) in KINDS {
        for (name, encode) in ENCODINGS {
            for around in ["@", "it said @ at last", "input=@", "{\"a\": [\"@\", 1]}", "url=https://a.example/?x=@&y=1"]
            {
                let line = around.replace('@', &encode(secret));
                let mut value = json!({"error": line, "list": [line]});
                json(&mut value);
                for clean in [text(&line).into_owned(), value.to_string()] {
                    let left = clean.contains(core) || clean.contains(&encode(core));
                    assert!(!left && clean.contains(REDACTED), "{name}: {line:?} became {clean:?}");
                }
            }
        }
    }
}

#[test]
fn encoded_text_without_secrets_stays_as_it_is() {
    for (name, encode) in ENCODINGS {
        let line = format!("said {} today", encode("nothing that anybody would want to hide"));
        assert!(matches!(text(&line), Cow::Borrowed(_)), "{name}: {line:?} became {:?}", text(&line));
    }
    let line =
        "hash 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 of 01a21c34-8b3e-7560-896a-6974d068d5c4";
    assert!(matches!(text(line), Cow::Borrowed(_)));
}
