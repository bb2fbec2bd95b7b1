//! What a provider says it still has for a caller.

use crate::time::Timestamp;

/// What a provider's rate limits leave, as it says with its answers; `None` where it says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Requests.
    pub requests: Option<Left>,
    /// Tokens of both kinds together.
    pub tokens: Option<Left>,
    /// Tokens read.
    pub input_tokens: Option<Left>,
    /// Tokens written.
    pub output_tokens: Option<Left>,
}

/// What is left of one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// The whole of it.
    pub limit: u64,
    /// What is left; providers round it.
    pub remaining: u64,
    /// When the whole of it is there again.
    pub full_at: Timestamp,
}

impl Room {
    /// Whether the provider has said nothing.
    pub fn is_unknown(&self) -> bool {
        *self == Self::default()
    }

    /// When there is room again, if one of the limits is used up.
    pub fn next_at(&self) -> Option<Timestamp> {
        let limits = [self.requests, self.tokens, self.input_tokens, self.output_tokens];
        limits.into_iter().flatten().filter(|left| left.remaining == 0).map(|left| left.full_at).max()
    }
}
