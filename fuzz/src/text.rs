//! Texts of operators and callers.

use std::collections::BTreeMap;

use aos_core::time::Timestamp;
use aos_server::config::{Config, Sources};
use aos_server::redact;
use aos_server::schedule::cron::Calendar;
use aos_server::skill::http_call::{self as call, AllowList, Guard, Input};
use serde_json::Value;

use crate::text;

/// A cron expression, a line end, a time zone: due times rise, and lie after what they follow.
pub fn calendar(data: &[u8]) {
    let Some((expression, zone)) = text(data).and_then(|text| text.split_once('\n')) else { return };
    let Ok(calendar) = Calendar::new(expression, zone) else { return };
    let mut last = Timestamp::from_millis(1_795_000_000_000);
    for _ in 0..4 {
        let Some(next) = calendar.next(last) else { return };
        assert!(next > last, "{expression:?} in {zone:?}: {next} does not follow {last}");
        last = next;
    }
}

/// The input of an `http_call`: what may be asked is http, and no address that is not public.
pub fn http_call(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let _ = AllowList::parse(text);
    let Ok(input) = serde_json::from_str::<Input>(text) else { return };
    let Ok(url) = call::understand(input, &Guard::default()) else { return };
    assert!(matches!(url.scheme(), "http" | "https") && url.username().is_empty(), "{url}");
    let address = match url.host() {
        Some(url::Host::Ipv4(address)) => address.into(),
        Some(url::Host::Ipv6(address)) => address.into(),
        Some(url::Host::Domain(name)) if !name.is_empty() => return,
        other => panic!("{other:?} may be asked: {url}"),
    };
    assert!(call::is_public(address), "{url}");
}

/// Secrets within any text, apart from it by a space: none of them is left.
pub fn redact(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let half = (0..=text.len() / 2).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let (before, after) = text.split_at(half);
    redact::learn("Zq7-canary-Zq7");
    for (secret, core) in [
        ("sk-ant-api03-canary_0123456789", "canary_0123456789"),
        ("aos_0123456789abcdef_canary0123456789abcdef", "canary0123456789abcdef"),
        ("ghp_canary0123456789canary0123456789", "canary0123456789canary0123456789"),
        ("Zq7-canary-Zq7", "canary"),
        ("5a71372d63616e6172792d5a7137", "616e617279"),
        ("WnE3LWNhbmFyeS1acTc=", "Y2FuYXJ5"),
    ] {
        let clean = redact::text(&format!("{before} {secret} {after}")).into_owned();
        assert!(!clean.contains(core) || text.contains(core), "{text:?} around {secret} becomes {clean:?}");
    }
    let Ok(value) = serde_json::from_str::<Value>(text) else { return };
    let mut redacted = value.clone();
    redact::json(&mut redacted);
    let keys = |value: &Value| value.as_object().map(|fields| fields.keys().cloned().collect::<Vec<_>>());
    assert_eq!(keys(&redacted), keys(&value));
}

/// `KEY=value` lines of an environment: every mistake has a message, and none shows a secret's value.
pub fn settings(data: &[u8]) {
    let Some(text) = text(data) else { return };
    // These read files.
    let is_read = |key: &str| key == "AOS_CONFIG" || key == "AOS_PRICES" || key.ends_with("_FILE");
    let lines = text.lines().filter_map(|line| line.split_once('=')).filter(|(key, _)| !is_read(key));
    let environment: BTreeMap<_, _> = lines.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let secrets = ["ANTHROPIC_API_KEY", "OPENAI_API_KEY", "AOS_API_KEY"];
    let secrets: Vec<_> = secrets.iter().filter_map(|key| environment.get(*key)).cloned().collect();
    let mut sources = Sources::default();
    sources.environment = environment;
    let shown = match Config::load(&sources) {
        Ok(config) => format!("{config:?}"),
        Err(error) => error.to_string(),
    };
    // Another setting may say the same, and is not secret.
    for secret in secrets.iter().filter(|secret| secret.len() > 12 && text.matches(secret.as_str()).count() == 1) {
        assert!(!shown.contains(secret.as_str()), "{secret:?} shows in {shown}");
    }
}
