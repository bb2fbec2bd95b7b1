//! A circuit breaker: leaves an adapter alone whose provider is not well. A pure value: facts in, verdict out.

use std::time::Duration;

use super::failure::{LlmFailure, Sent};
use crate::error::{Code, Failure, codes};
use crate::time::Timestamp;

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerSettings {
    /// Failures in a row that open it; at least 1.
    pub failures: u32,
    /// How long it stays open the first time; twice as long each further time, until a call goes well.
    pub cool_down: Duration,
    /// The longest it stays open.
    pub longest: Duration,
}

impl Default for BreakerSettings {
    /// Five failures in a row, five seconds, doubling to at most two minutes.
    fn default() -> Self {
        Self { failures: 5, cool_down: Duration::from_secs(5), longest: Duration::from_secs(120) }
    }
}

/// What a call says about its provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The provider answers, if only to refuse.
    Well,
    /// It is overloaded, has an error of its own, is out of reach, or too slow.
    Unwell,
    /// Nothing: the provider was not asked, or the caller has left.
    Unknown,
}

/// What speaks of a provider's health. A refusal by rate limit does not: a limiter heeds that.
const UNWELL: [Code; 5] = [
    codes::LLM_OVERLOADED,
    codes::LLM_PROVIDER_ERROR,
    codes::LLM_UNREACHABLE,
    codes::LLM_TIMEOUT,
    codes::LLM_INTERRUPTED,
];

impl Outcome {
    /// What a failed call says.
    pub fn of(failure: &LlmFailure) -> Self {
        if UNWELL.contains(failure.code()) {
            Self::Unwell
        } else if failure.sent == Sent::No || *failure.code() == codes::CANCELLED {
            Self::Unknown
        } else {
            Self::Well
        }
    }
}

/// The permission to make one call; give it back with the [`Outcome`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "tell the breaker how the call came out"]
pub struct Pass(u64);

/// Whether calls get through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// All of them.
    Closed,
    /// None before that time.
    Open(Timestamp),
    /// One is under way, to see whether the provider is well again; unless it has come back, there is another one at
    /// that time.
    HalfOpen(Timestamp),
}

/// Opens after failures in a row that speak of the provider's health, stays open for a while, then lets one call through,
/// and closes when that goes well.
///
/// Calls that began before it last changed its mind change nothing any more.
#[derive(Clone, Debug)]
pub struct Breaker {
    settings: BreakerSettings,
    state: BreakerState,
    /// Failures in a row, while closed.
    failures: u32,
    /// How often it was opened since a call last went well.
    opened: u32,
    /// Rises when the state changes; a pass is worth something only in the era that it was given in.
    era: u64,
}

impl Breaker {
    /// A closed breaker.
    pub const fn new(settings: BreakerSettings) -> Self {
        Self { settings, state: BreakerState::Closed, failures: 0, opened: 0, era: 0 }
    }

    /// What the state is; it says nothing of whether its time has come.
    pub const fn state(&self) -> BreakerState {
        self.state
    }

    /// Asks for one call at `now`.
    ///
    /// # Errors
    /// When to ask again.
    pub fn pass(&mut self, now: Timestamp) -> Result<Pass, Timestamp> {
        match self.state {
            BreakerState::Closed => {}
            BreakerState::Open(until) | BreakerState::HalfOpen(until) if now < until => return Err(until),
            BreakerState::Open(_) => self.enter(BreakerState::HalfOpen(now.saturating_add(self.cool_down()))),
            // The one before it is slow, or lost: whichever comes back first decides.
            BreakerState::HalfOpen(_) => self.state = BreakerState::HalfOpen(now.saturating_add(self.cool_down())),
        }
        Ok(Pass(self.era))
    }

    /// Learns at `now` how the call of `pass` came out.
    pub fn tell(&mut self, pass: Pass, outcome: Outcome, now: Timestamp) {
        if pass.0 != self.era {
            return;
        }
        let probe = self.state != BreakerState::Closed;
        match outcome {
            Outcome::Well if probe => {
                self.opened = 0;
                self.enter(BreakerState::Closed);
            }
            Outcome::Well => self.failures = 0,
            Outcome::Unwell => {
                self.failures = self.failures.saturating_add(1);
                if probe || self.failures >= self.settings.failures {
                    self.opened = self.opened.saturating_add(1);
                    self.enter(BreakerState::Open(now.saturating_add(self.cool_down())));
                }
            }
            // The next one is to find out.
            Outcome::Unknown if probe => self.enter(BreakerState::Open(now)),
            Outcome::Unknown => {}
        }
    }

    /// The failure of a call of `adapter` that gets no pass before `until`.
    pub fn failure(adapter: &str, until: Timestamp, now: Timestamp) -> Failure {
        let wait = until.since(now);
        let message = format!(
            "{adapter} has failed again and again and is left alone for another {} ms; expected is that its provider is \
             well again by then",
            wait.as_millis()
        );
        Failure::new(codes::LLM_CIRCUIT_OPEN, message).retry_after(wait)
    }

    fn enter(&mut self, state: BreakerState) {
        self.state = state;
        self.failures = 0;
        self.era += 1;
    }

    /// How long it is open, this time.
    fn cool_down(&self) -> Duration {
        let doubled = 2_u32.saturating_pow(self.opened.saturating_sub(1));
        self.settings.cool_down.saturating_mul(doubled).min(self.settings.longest)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const SETTINGS: BreakerSettings =
        BreakerSettings { failures: 3, cool_down: Duration::from_secs(5), longest: Duration::from_secs(15) };

    fn at(s: u64) -> Timestamp {
        Timestamp::from_millis(s * 1_000)
    }

    #[test]
    fn health_is_told_from_everything_else() {
        use Outcome::{Unknown, Unwell, Well};
        for (code, sent, outcome) in [
            (codes::LLM_OVERLOADED, Sent::Refused, Unwell),
            (codes::LLM_PROVIDER_ERROR, Sent::Unknown, Unwell),
            (codes::LLM_UNREACHABLE, Sent::No, Unwell),
            (codes::LLM_TIMEOUT, Sent::Unknown, Unwell),
            (codes::LLM_INTERRUPTED, Sent::Unknown, Unwell),
            (codes::LLM_RATE_LIMITED, Sent::Refused, Well),
            (codes::LLM_AUTH_FAILED, Sent::Refused, Well),
            (codes::LLM_INVALID_REQUEST, Sent::Refused, Well),
            (codes::LLM_INVALID_RESPONSE, Sent::Answered, Well),
            (codes::LLM_RATE_LIMIT, Sent::No, Unknown),
            (codes::BUDGET_EXCEEDED, Sent::No, Unknown),
            (codes::CANCELLED, Sent::Unknown, Unknown),
        ] {
            assert_eq!(Outcome::of(&LlmFailure::new(sent, Failure::new(code.clone(), ""))), outcome, "{code}");
        }
    }

    /// Each line: the second, then `+` well, `-` unwell, `?` unknown for a call that began and ended then; `!` for one
    /// that gets no pass, with the second to ask again.
    #[test]
    fn opens_after_failures_in_a_row_and_closes_after_one_that_goes_well() {
        let mut breaker = Breaker::new(SETTINGS);
        let script = "0- 0- 0+ 1- 1? 1- 1- 2!6 5!6 6- 7!16 16? 16- 17!31 31- 32!46 46+ 46- 46- 46+ 47- 47- 47- 48!52";
        for word in script.split(' ') {
            let mark = word.find(|c: char| !c.is_ascii_digit()).unwrap();
            let now = at(word[..mark].parse().unwrap());
            let outcome = match &word[mark..=mark] {
                "+" => Outcome::Well,
                "-" => Outcome::Unwell,
                "?" => Outcome::Unknown,
                _ => {
                    assert_eq!(breaker.pass(now), Err(at(word[mark + 1..].parse().unwrap())), "{word}");
                    continue;
                }
            };
            let pass = breaker.pass(now).unwrap_or_else(|until| panic!("{word}: not before {until}"));
            breaker.tell(pass, outcome, now);
        }
    }

    #[test]
    fn one_probe_at_a_time_and_another_when_it_does_not_come_back() {
        for (which, outcome, state) in [
            ("early", Outcome::Well, BreakerState::HalfOpen(at(15))),
            ("slow", Outcome::Well, BreakerState::Closed),
            ("slow", Outcome::Unwell, BreakerState::Open(at(21))),
            ("second", Outcome::Well, BreakerState::Closed),
            ("second", Outcome::Unknown, BreakerState::Open(at(11))),
        ] {
            let mut breaker = Breaker::new(SETTINGS);
            let early = breaker.pass(at(0)).unwrap();
            for _ in 0..SETTINGS.failures {
                let pass = breaker.pass(at(0)).unwrap();
                breaker.tell(pass, Outcome::Unwell, at(0));
            }
            let slow = breaker.pass(at(5)).unwrap();
            assert_eq!(breaker.state(), BreakerState::HalfOpen(at(10)));
            assert_eq!(breaker.pass(at(9)), Err(at(10)));
            let second = breaker.pass(at(10)).unwrap();
            let pass = BTreeMap::from([("early", early), ("slow", slow), ("second", second)])[which];
            breaker.tell(pass, outcome, at(11));
            assert_eq!(breaker.state(), state, "{which} {outcome:?}");
            // The others come too late to change anything.
            for pass in [early, slow, second].into_iter().filter(|_| state == BreakerState::Closed) {
                breaker.tell(pass, Outcome::Unwell, at(11));
            }
            assert_eq!(breaker.state(), state, "{which} {outcome:?}");
        }
    }

    #[test]
    fn the_failure_says_when_to_come_back() {
        let failure = Breaker::failure("claude", at(7), at(4));
        assert_eq!((failure.code, failure.retry_after_ms), (codes::LLM_CIRCUIT_OPEN, Some(3_000)));
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        /// So many seconds pass.
        Pass(u64),
        /// A call wants to begin.
        Begin,
        /// One of those under way ends.
        End(usize, Outcome),
    }

    fn step() -> impl Strategy<Value = Step> {
        let outcome = prop_oneof![Just(Outcome::Well), Just(Outcome::Unwell), Just(Outcome::Unknown)];
        prop_oneof![
            1 => (0_u64..20).prop_map(Step::Pass),
            3 => Just(Step::Begin),
            3 => (any::<usize>(), outcome).prop_map(|(which, outcome)| Step::End(which, outcome)),
        ]
    }

    proptest! {
        /// However calls come and go: while it is not closed at most one gets through in a cool-down, nobody has to wait
        /// for longer than the longest one, and what is told wrongly or late never closes it.
        #[test]
        fn keeps_its_promises(steps in prop::collection::vec(step(), 0..200)) {
            let mut breaker = Breaker::new(SETTINGS);
            let (mut now, mut under_way) = (0, Vec::new());
            let mut probes = Vec::new();
            for step in steps {
                let before = breaker.state();
                match step {
                    Step::Pass(seconds) => now += seconds,
                    Step::Begin => match (breaker.pass(at(now)), before) {
                        (Ok(pass), BreakerState::Closed) => under_way.push(pass),
                        (Ok(pass), BreakerState::Open(until) | BreakerState::HalfOpen(until)) => {
                            prop_assert!(until <= at(now));
                            prop_assert!(matches!(breaker.state(), BreakerState::HalfOpen(_)));
                            under_way.push(pass);
                            probes.push(pass);
                        }
                        (Err(until), before) => {
                            prop_assert!(until > at(now) && until.since(at(now)) <= SETTINGS.longest);
                            prop_assert!(before != BreakerState::Closed && before == breaker.state());
                        }
                    },
                    Step::End(which, outcome) if !under_way.is_empty() => {
                        let pass = under_way.swap_remove(which % under_way.len());
                        breaker.tell(pass, outcome, at(now));
                        if before != BreakerState::Closed && breaker.state() == BreakerState::Closed {
                            prop_assert_eq!(outcome, Outcome::Well);
                            prop_assert!(probes.contains(&pass));
                        }
                        if breaker.state() != before {
                            probes.clear();
                        }
                    }
                    Step::End(..) => {}
                }
            }
        }
    }
}
