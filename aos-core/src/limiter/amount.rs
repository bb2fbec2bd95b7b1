//! How much: one number for each kind of thing that is limited.

/// So many requests, tokens, tokens read and tokens written, in this order.
///
/// Arithmetic stops at the bounds: no amount is negative, and the largest one stands for "not limited".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount(pub [u64; Amount::KINDS]);

impl Amount {
    /// How many kinds there are.
    pub const KINDS: usize = 4;

    /// Nothing.
    pub const NONE: Self = Self([0; Self::KINDS]);

    /// One call.
    pub const fn call(input_tokens: u64, output_tokens: u64) -> Self {
        Self([1, input_tokens.saturating_add(output_tokens), input_tokens, output_tokens])
    }

    /// Requests.
    pub const fn requests(self) -> u64 {
        self.0[0]
    }

    /// Tokens, read and written.
    pub const fn tokens(self) -> u64 {
        self.0[1]
    }

    /// The sum of both.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.with(other, u64::saturating_add)
    }

    /// What is left of this without `other`.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        self.with(other, u64::saturating_sub)
    }

    /// The smaller of both, kind by kind.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        self.with(other, u64::min)
    }

    /// The larger of both, kind by kind.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        self.with(other, u64::max)
    }

    /// An equal part for each of so many.
    #[must_use]
    pub fn part(self, of: u64) -> Self {
        Self(self.0.map(|amount| amount / of.max(1)))
    }

    /// Whether no kind of it is more than in `most`.
    pub fn fits(self, most: Self) -> bool {
        self.min(most) == self
    }

    fn with(self, other: Self, both: fn(u64, u64) -> u64) -> Self {
        Self(std::array::from_fn(|kind| both(self.0[kind], other.0[kind])))
    }
}

/// How much is allowed in any minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimits {
    /// Requests.
    pub requests: u64,
    /// Tokens, read and written.
    pub tokens: u64,
    /// Tokens read; `None` for no limit but that of all tokens.
    pub input_tokens: Option<u64>,
    /// Tokens written; `None` for no limit but that of all tokens.
    pub output_tokens: Option<u64>,
}

impl RateLimits {
    /// Limits of requests, and of tokens of either kind together.
    pub const fn new(requests: u64, tokens: u64) -> Self {
        Self { requests, tokens, input_tokens: None, output_tokens: None }
    }
}

/// The most that a minute may have.
impl From<RateLimits> for Amount {
    fn from(limits: RateLimits) -> Self {
        let [input, output] = [limits.input_tokens, limits.output_tokens].map(|limit| limit.unwrap_or(u64::MAX));
        Self([limits.requests, limits.tokens, input, output])
    }
}
