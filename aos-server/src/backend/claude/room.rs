//! What the provider's rate limits leave, from the headers of an answer.

use aos_core::llm::{Left, Room};
use aos_core::time::Timestamp;
use chrono::DateTime;
use reqwest::header::HeaderMap;

/// Reads the headers `anthropic-ratelimit-…`; `None` when there are none that can be read.
pub(super) fn read(headers: &HeaderMap) -> Option<Room> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let left = |limit: &str, remaining: &str, reset: &str| {
        let reset = DateTime::parse_from_rfc3339(text(reset)?).ok()?;
        Some(Left {
            limit: text(limit)?.parse().ok()?,
            remaining: text(remaining)?.parse().ok()?,
            full_at: Timestamp::from_millis(u64::try_from(reset.timestamp_millis()).ok()?),
        })
    };
    macro_rules! left {
        ($kind:literal) => {
            left(
                concat!("anthropic-ratelimit-", $kind, "-limit"),
                concat!("anthropic-ratelimit-", $kind, "-remaining"),
                concat!("anthropic-ratelimit-", $kind, "-reset"),
            )
        };
    }
    let room = Room {
        requests: left!("requests"),
        tokens: left!("tokens"),
        input_tokens: left!("input-tokens"),
        output_tokens: left!("output-tokens"),
    };
    (!room.is_unknown()).then_some(room)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_limit_by_limit() {
        let headers: HeaderMap = [
            ("anthropic-ratelimit-requests-limit", "50"),
            ("anthropic-ratelimit-requests-remaining", "49"),
            ("anthropic-ratelimit-requests-reset", "2026-11-26T00:00:01Z"),
            ("anthropic-ratelimit-input-tokens-limit", "30000"),
            ("anthropic-ratelimit-input-tokens-remaining", "0"),
            ("anthropic-ratelimit-input-tokens-reset", "2026-11-26T01:00:00.5+01:00"),
            ("anthropic-ratelimit-output-tokens-limit", "8000"),
            ("anthropic-ratelimit-output-tokens-remaining", "many"),
            ("anthropic-ratelimit-output-tokens-reset", "2026-11-26T00:00:00Z"),
            ("anthropic-ratelimit-tokens-limit", "38000"),
            ("anthropic-ratelimit-tokens-remaining", "38000"),
        ]
        .into_iter()
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        .collect();
        let midnight = Timestamp::from_millis(1_795_651_200_000);
        let after = |ms| midnight.saturating_add(std::time::Duration::from_millis(ms));
        let room = read(&headers).unwrap();
        assert_eq!(room.requests, Some(Left { limit: 50, remaining: 49, full_at: after(1_000) }));
        assert_eq!(room.input_tokens, Some(Left { limit: 30_000, remaining: 0, full_at: after(500) }));
        assert_eq!((room.tokens, room.output_tokens), (None, None));
        assert_eq!(read(&HeaderMap::new()), None);
    }
}
