//! One step with Redis: what is sent to the script, and what it answers.

use std::fmt::Write;

use aos_core::limiter::Amount;
use redis::{RedisResult, Script, ScriptInvocation};

use super::alone::SPANS;

/// The one key; everything is lost together or not at all.
pub(super) const KEY: &str = "aos:limits";

/// More than that is not told apart: the script's numbers have 53 bits, and amounts are summed up.
const MOST: u64 = 1 << 43;

/// More than that is not limited.
const UNLIMITED: u64 = 1 << 51;

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
        let mut log = String::new();
        for (age, amount) in &told.log {
            // Into a string, nothing can fail.
            let _ = write!(log, "{age} {} ", numbers(*amount, MOST));
        }
        step.arg(told.limit).arg(told.sequence).arg(numbers(told.most, UNLIMITED));
        step.arg(numbers(told.want.unwrap_or_default(), MOST)).arg(numbers(told.alone, UNLIMITED)).arg(log);
        step
    }
}

/// An amount as the script reads it.
fn numbers(amount: Amount, most: u64) -> String {
    amount.0.map(|number| number.min(most).to_string()).join(" ")
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
        let ([status, now, present, wait_ms], amounts) =
            numbers.split_first_chunk().ok_or_else(|| unreadable(&numbers))?;
        let status = match status {
            0 => Status::Report,
            1 => Status::Closed,
            2 => Status::Open,
            3 => Status::Granted,
            4 => Status::Stale,
            _ => return Err(unreadable(&numbers)),
        };
        let (amounts, _) = amounts.as_chunks().0.split_first_chunk().ok_or_else(|| unreadable(&numbers))?;
        let [promise, ends @ ..]: &[_; 1 + SPANS] = amounts;
        let (promise, ends) = (Amount(*promise), ends.map(Amount));
        Ok(Self { epoch, status, now: *now, present: *present, wait_ms: *wait_ms, promise, ends })
    }
}

fn unreadable(numbers: &[u64]) -> redis::RedisError {
    (redis::ErrorKind::UnexpectedReturnType, "the script's answer can't be read", format!("{numbers:?}")).into()
}
