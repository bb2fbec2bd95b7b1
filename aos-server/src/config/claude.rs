//! The Claude adapter, and the operator's controls over live adapters.

use std::path::PathBuf;

use aos_core::limiter::RateLimits;
use url::Url;

use crate::config::reader::{Reader, boolean, endpoint, integer, path};
use crate::config::secret::Secret;
use crate::config::table;

/// Where the API key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// The setting itself.
    Value(Secret),
    /// A file, to be read again when it changes.
    File(PathBuf),
}

/// What the Claude adapter needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claude {
    /// The key; without one there is no adapter.
    pub api_key: Option<KeySource>,
    /// The only place that gets the key.
    pub base_url: Url,
    /// Requests per minute.
    pub requests_per_minute: u64,
    /// Tokens per minute.
    pub tokens_per_minute: u64,
    /// Tokens read per minute, if they have a limit of their own.
    pub input_tokens_per_minute: Option<u64>,
    /// Tokens written per minute, if they have a limit of their own.
    pub output_tokens_per_minute: Option<u64>,
}

impl Claude {
    pub(crate) fn read(reader: &mut Reader) -> Option<Self> {
        let value = reader.optional(&table::ANTHROPIC_API_KEY, |text| is_key(text).then(|| Secret::new(text)));
        let file = reader.try_optional(&table::ANTHROPIC_API_KEY_FILE, |text| {
            let path = path(text).ok_or("a path has no NUL")?;
            match std::fs::read_to_string(&path) {
                Ok(key) if is_key(key.trim()) => Ok(path),
                Ok(_) => Err(format!("{} does not hold one key on one line", path.display())),
                Err(e) => Err(format!("{} can't be read: {e}", path.display())),
            }
        });
        let base_url = reader.get(&table::ANTHROPIC_BASE_URL, endpoint);
        let requests_per_minute = reader.get(&table::RATE_LIMIT_RPM, integer(1..=10_000_000));
        let tokens_per_minute = reader.get(&table::RATE_LIMIT_TPM, integer(1..=10_000_000_000));
        let input_tokens_per_minute = reader.optional(&table::RATE_LIMIT_ITPM, integer(1..=10_000_000_000));
        let output_tokens_per_minute = reader.optional(&table::RATE_LIMIT_OTPM, integer(1..=10_000_000_000));
        let api_key = match (value?, file?) {
            (Some(_), Some(_)) => {
                let other = table::ANTHROPIC_API_KEY.key;
                reader.contradiction(&table::ANTHROPIC_API_KEY_FILE, format!("{other} is set too: keep one of them"));
                return None;
            }
            (value, file) => value.map(KeySource::Value).or(file.map(KeySource::File)),
        };
        Some(Self {
            api_key,
            base_url: base_url?,
            requests_per_minute: requests_per_minute?,
            tokens_per_minute: tokens_per_minute?,
            input_tokens_per_minute: input_tokens_per_minute?,
            output_tokens_per_minute: output_tokens_per_minute?,
        })
    }

    /// What a minute may have.
    pub fn limits(&self) -> RateLimits {
        RateLimits {
            requests: self.requests_per_minute,
            tokens: self.tokens_per_minute,
            input_tokens: self.input_tokens_per_minute,
            output_tokens: self.output_tokens_per_minute,
        }
    }
}

/// A key goes into a header, so it is one line of printable ASCII.
fn is_key(text: &str) -> bool {
    !text.is_empty() && text.len() <= 4_096 && text.bytes().all(|b| b.is_ascii_graphic())
}

/// The operator's controls over adapters at start; the same controls exist as switches of a running server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AdapterSwitches {
    /// Live adapters are not there.
    pub disable_live: bool,
    /// Every model call goes to the stub.
    pub force_stub: bool,
}

impl AdapterSwitches {
    pub(crate) fn read(reader: &mut Reader) -> Option<Self> {
        let disable_live = reader.get(&table::DISABLE_LIVE_ADAPTERS, boolean);
        let force_stub = reader.get(&table::FORCE_STUB_ADAPTER, boolean);
        Some(Self { disable_live: disable_live?, force_stub: force_stub? })
    }
}
