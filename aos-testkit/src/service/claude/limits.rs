//! Rate limits as the API has them: token buckets of requests, input tokens and output tokens.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aos_core::time::Timestamp;

use super::error::ApiError;

/// Whose requests share a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// All of them: every key is of the same organisation.
    #[default]
    Organisation,
    /// Those of one key.
    Key,
}

/// Rate limits per minute. Each is a bucket that holds a minute's worth and fills all the time, as the API's; models do
/// not share them. `None` limits nothing.
///
/// Tokens read from the cache don't count. Output is estimated from `max_tokens` at first and corrected when it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Requests per minute.
    pub requests: Option<u64>,
    /// Input tokens per minute.
    pub input_tokens: Option<u64>,
    /// Output tokens per minute.
    pub output_tokens: Option<u64>,
    /// Whose requests share them.
    pub scope: Scope,
}

/// Microseconds of a minute: a bucket's level is in millionths of a sixtieth, so that it fills in whole numbers.
const MINUTE: i128 = 60_000_000;

/// The kinds of limits: the word in headers and the words in messages.
const KINDS: [(&str, &str); 3] =
    [("requests", "requests"), ("input-tokens", "input tokens"), ("output-tokens", "output tokens")];

/// The buckets of all scopes and models.
#[derive(Default)]
pub(super) struct Limiter {
    pub(super) limits: Option<Limits>,
    buckets: HashMap<(Option<Arc<str>>, String), Buckets>,
}

/// Of each kind the one, if that is limited.
type Buckets = [Option<Bucket>; 3];

/// What a request takes.
pub(super) struct Demand<'a> {
    pub(super) key: &'a Arc<str>,
    pub(super) model: &'a str,
    pub(super) input_tokens: u64,
    /// The most output it may have.
    pub(super) max_tokens: u64,
}

/// The headers `anthropic-ratelimit-*` of an answer.
pub(super) type Headers = Vec<(String, String)>;

impl Limiter {
    /// Sets other limits, with full buckets.
    pub(super) fn set(&mut self, limits: Option<Limits>) {
        *self = Self { limits, buckets: HashMap::new() };
    }

    /// Takes what a request needs, as far as it is known, or refuses it. `now` is since the start, `clock` the time of
    /// day then.
    pub(super) fn admit(
        &mut self,
        demand: &Demand<'_>,
        now: Duration,
        clock: Timestamp,
    ) -> Result<(), (ApiError, Headers)> {
        let Some(buckets) = self.buckets(demand, now) else { return Ok(()) };
        let needed = needed(buckets, demand);
        let waits = buckets.iter_mut().zip(needed).zip(KINDS).filter_map(|((bucket, needed), (_, words))| {
            let bucket = bucket.as_mut()?;
            bucket.fill(now);
            Some((bucket.limit, words, bucket.wait(needed)))
        });
        let refusal = waits.filter(|(.., wait)| !wait.is_zero()).max_by_key(|(.., wait)| *wait);
        if let Some((limit, words, wait)) = refusal {
            return Err((refused(limit, words, demand.model, wait), headers(buckets, clock)));
        }
        for (bucket, needed) in buckets.iter_mut().zip(needed) {
            bucket.iter_mut().for_each(|bucket| bucket.level -= i128::from(needed) * MINUTE);
        }
        Ok(())
    }

    /// Corrects the estimate of the output of a request that was admitted.
    pub(super) fn settle(&mut self, demand: &Demand<'_>, output: u64, now: Duration, clock: Timestamp) -> Headers {
        let Some(buckets) = self.buckets(demand, now) else { return Headers::new() };
        let [.., estimate] = needed(buckets, demand);
        if let Some(bucket) = &mut buckets[2] {
            bucket.level += (i128::from(estimate) - i128::from(output)) * MINUTE;
        }
        headers(buckets, clock)
    }

    fn buckets(&mut self, demand: &Demand<'_>, now: Duration) -> Option<&mut Buckets> {
        let limits = self.limits?;
        let key = (limits.scope == Scope::Key).then(|| Arc::clone(demand.key));
        Some(self.buckets.entry((key, demand.model.to_owned())).or_insert_with(|| {
            let limits = [limits.requests, limits.input_tokens, limits.output_tokens];
            limits.map(|limit| limit.map(|limit| Bucket::full(limit, now)))
        }))
    }
}

/// What a request takes of each bucket. An estimate of output beyond the limit would never pass.
fn needed(buckets: &Buckets, demand: &Demand<'_>) -> [u64; 3] {
    let most = buckets[2].as_ref().map_or(0, |bucket| bucket.limit);
    [1, demand.input_tokens, demand.max_tokens.min(most)]
}

fn refused(limit: u64, words: &str, model: &str, wait: Duration) -> ApiError {
    let mut error = ApiError::rate_limit(wait);
    error.message = format!(
        "This request would exceed your organization's rate limit of {} {words} per minute (org: {}, model: {model}). \
         For details, refer to: https://docs.claude.com/en/api/rate-limits. You can see the response headers for current \
         usage. Please reduce the prompt length or the maximum tokens requested, or try again later.",
        grouped(limit),
        super::ORGANISATION
    );
    error
}

/// `anthropic-ratelimit-*`: the buckets one by one, and `tokens` for that of the two kinds of tokens with less in it.
fn headers(buckets: &Buckets, clock: Timestamp) -> Headers {
    let tightest = buckets[1..].iter().flatten().min_by_key(|bucket| bucket.remaining());
    let named = buckets.iter().zip(KINDS).filter_map(|(bucket, (name, _))| Some((name, bucket.as_ref()?)));
    let mut headers = Headers::new();
    for (name, bucket) in named.chain(tightest.map(|bucket| ("tokens", bucket))) {
        // Tokens are rounded to thousands, requests are not.
        let remaining = match name {
            "requests" => bucket.remaining(),
            _ => (bucket.remaining() + 500) / 1_000 * 1_000,
        };
        let reset = clock.saturating_add(bucket.wait(bucket.limit));
        let reset = reset.to_string().split('.').next().map(|second| format!("{second}Z")).unwrap_or_default();
        for (what, value) in
            [("limit", bucket.limit.to_string()), ("remaining", remaining.to_string()), ("reset", reset)]
        {
            headers.push((format!("anthropic-ratelimit-{name}-{what}"), value));
        }
    }
    headers
}

/// `30,000`
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let (head, tail) = digits.split_at(first);
    let groups = (0..tail.len() / 3).map(|group| &tail[group * 3..group * 3 + 3]);
    (!head.is_empty()).then_some(head).into_iter().chain(groups).collect::<Vec<_>>().join(",")
}

/// A bucket of `limit` that fills by as much in a minute. It may be in debt.
#[derive(Debug)]
struct Bucket {
    limit: u64,
    level: i128,
    filled: Duration,
}

impl Bucket {
    fn full(limit: u64, now: Duration) -> Self {
        Self { limit, level: i128::from(limit) * MINUTE, filled: now }
    }

    fn fill(&mut self, now: Duration) {
        // A process does not run for longer than that many microseconds.
        let elapsed = i128::try_from(now.saturating_sub(self.filled).as_micros()).unwrap_or(i128::from(u64::MAX));
        self.level = (self.level + elapsed * i128::from(self.limit)).min(i128::from(self.limit) * MINUTE);
        self.filled = now;
    }

    fn remaining(&self) -> u64 {
        u64::try_from(self.level / MINUTE).unwrap_or(0)
    }

    /// How long it takes until there is as much as `needed`.
    fn wait(&self, needed: u64) -> Duration {
        let missing = (i128::from(needed) * MINUTE - self.level).max(0);
        let micros =
            if self.limit == 0 { missing } else { (missing + i128::from(self.limit) - 1) / i128::from(self.limit) };
        Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Timestamp = Timestamp::from_millis(1_795_694_400_000);

    fn ask(
        limiter: &mut Limiter,
        key: &str,
        ms: u64,
        input_tokens: u64,
        (max_tokens, output): (u64, u64),
    ) -> Result<Headers, ApiError> {
        let demand = Demand { key: &key.into(), model: "claude-opus-5-5", input_tokens, max_tokens };
        let now = Duration::from_millis(ms);
        limiter.admit(&demand, now, NOON).map_err(|(error, _)| error)?;
        Ok(limiter.settle(&demand, output, now, NOON))
    }

    fn limiter(limits: Limits) -> Limiter {
        let mut limiter = Limiter::default();
        limiter.set(Some(limits));
        limiter
    }

    /// The seconds to wait; `None` when the request has passed.
    fn wait(answer: Result<Headers, ApiError>) -> Option<u64> {
        answer.err().and_then(|error| error.retry_after)
    }

    #[test]
    fn nothing_is_limited_without_limits() {
        assert_eq!(ask(&mut Limiter::default(), "a", 0, u64::MAX, (u64::MAX, 0)), Ok(Headers::new()));
    }

    #[test]
    fn requests_come_back_one_by_one() {
        let mut limiter = limiter(Limits { requests: Some(6), ..Limits::default() });
        for _ in 0..6 {
            assert_eq!(wait(ask(&mut limiter, "a", 0, 1, (1, 1))), None);
        }
        // One comes back every ten seconds.
        for (ms, expected) in [(0, Some(10)), (1, Some(10)), (9_999, Some(1)), (10_000, None), (10_001, Some(10))] {
            assert_eq!(wait(ask(&mut limiter, "b", ms, 1, (1, 1))), expected, "{ms}");
        }
    }

    #[test]
    fn keys_may_have_limits_of_their_own() {
        let mut limiter = limiter(Limits { requests: Some(1), scope: Scope::Key, ..Limits::default() });
        assert_eq!(["a", "b", "a"].map(|key| ask(&mut limiter, key, 0, 1, (1, 1)).is_ok()), [true, true, false]);
    }

    #[test]
    fn output_is_estimated_and_corrected() {
        let mut limiter = limiter(Limits { output_tokens: Some(1_000), ..Limits::default() });
        // 600 are asked for and 100 are written, so that there are 900 for the next.
        for (ms, output, expected) in [
            (0, (600, 100), None),
            (0, (901, 100), Some(1)),
            (0, (900, 900), None),
            (0, (500, 1), Some(30)),
            // An estimate beyond the limit waits for a full bucket.
            (59_999, (4_000, 1), Some(1)),
            (60_000, (4_000, 1), None),
        ] {
            assert_eq!(wait(ask(&mut limiter, "a", ms, 1, output)), expected, "{ms} {output:?}");
        }
    }

    #[test]
    fn headers_and_messages_are_the_api_s() {
        let limits =
            Limits { requests: Some(50), input_tokens: Some(30_000), output_tokens: Some(8_000), ..Limits::default() };
        let mut limiter = limiter(limits);
        let headers = ask(&mut limiter, "a", 0, 12_600, (1_000, 400)).unwrap();
        let headers: Vec<_> = headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        assert_eq!(
            headers,
            [
                "anthropic-ratelimit-requests-limit: 50",
                "anthropic-ratelimit-requests-remaining: 49",
                "anthropic-ratelimit-requests-reset: 2026-11-26T12:00:01Z",
                "anthropic-ratelimit-input-tokens-limit: 30000",
                "anthropic-ratelimit-input-tokens-remaining: 17000",
                "anthropic-ratelimit-input-tokens-reset: 2026-11-26T12:00:25Z",
                "anthropic-ratelimit-output-tokens-limit: 8000",
                "anthropic-ratelimit-output-tokens-remaining: 8000",
                "anthropic-ratelimit-output-tokens-reset: 2026-11-26T12:00:03Z",
                "anthropic-ratelimit-tokens-limit: 8000",
                "anthropic-ratelimit-tokens-remaining: 8000",
                "anthropic-ratelimit-tokens-reset: 2026-11-26T12:00:03Z",
            ]
        );
        let error = ask(&mut limiter, "a", 0, 30_000, (1, 1)).unwrap_err();
        assert_eq!((error.status, error.kind.as_ref(), error.retry_after), (429, "rate_limit_error", Some(26)));
        let begin = "This request would exceed your organization's rate limit of 30,000 input tokens per minute (org: ";
        assert!(error.message.starts_with(begin), "{}", error.message);
        // What was refused has taken nothing.
        assert!(ask(&mut limiter, "a", 0, 17_400, (1, 1)).is_ok());
    }

    #[test]
    fn numbers_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }
}
