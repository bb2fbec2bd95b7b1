//! The Claude adapter, and the operator's controls over live adapters.

use aos_core::limiter::RateLimits;
use url::Url;

use crate::config::keys::KeySource;
use crate::config::reader::{Reader, boolean, endpoint, integer};
use crate::config::table;

/// What the Claude adapter needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claude {
    /// The keys; without one there is no adapter.
    pub api_key: Option<KeySource>,
    /// The only place that gets the keys.
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
        let api_key = KeySource::read(reader, &table::ANTHROPIC_API_KEY, &table::ANTHROPIC_API_KEY_FILE);
        let base_url = reader.get(&table::ANTHROPIC_BASE_URL, endpoint);
        let requests_per_minute = reader.get(&table::RATE_LIMIT_RPM, integer(1..=10_000_000));
        let tokens_per_minute = reader.get(&table::RATE_LIMIT_TPM, integer(1..=10_000_000_000));
        let input_tokens_per_minute = reader.optional(&table::RATE_LIMIT_ITPM, integer(1..=10_000_000_000));
        let output_tokens_per_minute = reader.optional(&table::RATE_LIMIT_OTPM, integer(1..=10_000_000_000));
        Some(Self {
            api_key: api_key?,
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
