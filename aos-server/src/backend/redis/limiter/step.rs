//! One step with Redis: what is sent to the script, and what it answers.

use redis::{RedisResult, Script, ScriptInvocation};

use super::alone::SPANS;
use super::window::Amount;

/// The one key; everything is lost together or not at all.
pub(super) const KEY: &str = "aos:limits";

/// More tokens than that are not told apart: the script's numbers have 53 bits, and are summed up.
const MAX_TOKENS: u64 = 1 << 43;

/// The script.
pub(super) fn script() -> Script {
    Script::new(include_str!("step.lua"))
}

/// What a step says; see `step.lua`.
#[derive(Debug)]
pub(super) struct Ask<'a> {
    /// In ms; without it, Redis's own.
    pub(super) now: Option<u64>,
    pub(super) me: &'a str,
    pub(super) live: u64,
    pub(super) told_in: &'a str,
    pub(super) heard: u64,
    /// Without it, the step says that everything has been told.
    pub(super) limit: Option<Told<'a>>,
}

/// What a step says of a limit.
#[derive(Debug)]
pub(super) struct Told<'a> {
    pub(super) limit: &'a str,
    pub(super) sequence: u64,
    pub(super) most: Amount,
    pub(super) want: Option<Amount>,
    pub(super) alone: Amount,
    /// Ages in ms, and amounts.
    pub(super) log: Vec<(u64, Amount)>,
}

impl Ask<'_> {
    pub(super) fn of<'s>(&self, script: &'s Script) -> ScriptInvocation<'s> {
        let mut step = script.key(KEY);
        match self.now {
            Some(now) => step.arg(now),
            None => step.arg(""),
        };
        step.arg(self.me).arg(self.live).arg(self.told_in).arg(self.heard);
        let Some(told) = &self.limit else {
            step.arg("").arg(0);
            return step;
        };
        step.arg(told.limit).arg(told.sequence);
        for amount in [told.most, told.want.unwrap_or_default(), told.alone] {
            step.arg(amount.requests).arg(amount.tokens.min(MAX_TOKENS));
        }
        for (age, amount) in &told.log {
            step.arg(age).arg(amount.requests).arg(amount.tokens.min(MAX_TOKENS));
        }
        step
    }
}

/// How a step came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// This replica has not told everything that it was granted: until then it gets nothing.
    Report,
    /// Others have not.
    Closed,
    /// Nothing was wanted, or what was wanted has to wait.
    Open,
    /// What was wanted was granted.
    Granted,
    /// A later step was there first.
    Stale,
}

/// What the script answers.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) epoch: String,
    pub(super) status: Status,
    pub(super) now: u64,
    pub(super) present: u64,
    pub(super) wait_ms: u64,
    pub(super) promise: Amount,
    pub(super) ends: [Amount; SPANS],
}

impl Answer {
    pub(super) fn read((epoch, numbers): (String, Vec<u64>)) -> RedisResult<Self> {
        let (head, ends) = numbers.split_at_checked(6).ok_or_else(|| unreadable(&numbers))?;
        let status = match head[0] {
            0 => Status::Report,
            1 => Status::Closed,
            2 => Status::Open,
            3 => Status::Granted,
            4 => Status::Stale,
            _ => return Err(unreadable(&numbers)),
        };
        let amount = |pair: &[u64]| Amount { requests: pair[0], tokens: pair[1] };
        let mut answer = Self {
            epoch,
            status,
            now: head[1],
            present: head[2],
            wait_ms: head[3],
            promise: amount(&head[4..]),
            ends: [Amount::default(); SPANS],
        };
        answer.ends.iter_mut().zip(ends.chunks_exact(2)).for_each(|(end, pair)| *end = amount(pair));
        Ok(answer)
    }
}

fn unreadable(numbers: &[u64]) -> redis::RedisError {
    (redis::ErrorKind::UnexpectedReturnType, "the script's answer can't be read", format!("{numbers:?}")).into()
}
