//! Scripts: adapters and skills that answer as written down, in virtual time, and complain about everything else.

mod adapter;
mod skill;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aos_core::id::EffectId;
use aos_core::money::Money;
use aos_core::payload::Payload;
use aos_core::time::Clock;
use aos_core::{Code, Failure};

pub use adapter::{Reply, ScriptedAdapter};
pub use skill::ScriptedSkill;

/// The code of a call that the script has no answer for, or that is not the one it expects. Never retryable.
pub const ERR_SCRIPT: &str = "ERR_SCRIPT";

type Check = Arc<dyn Fn(&Payload) -> Result<(), String> + Send + Sync>;

/// One answer of a script.
#[derive(Clone)]
pub struct Turn<T> {
    outcome: Result<T, Failure>,
    cost: Money,
    delay: Duration,
    expected_effect: Option<String>,
    check: Option<Check>,
}

impl<T> Turn<T> {
    /// Answers with `value`.
    pub const fn give(value: T) -> Self {
        Self::of(Ok(value))
    }

    /// Fails with the code's usual idea of whether a retry may help.
    pub fn fail(code: Code, message: impl Into<String>) -> Self {
        Self::of(Err(Failure::new(code, message)))
    }

    /// Fails with exactly this failure.
    pub const fn failure(failure: Failure) -> Self {
        Self::of(Err(failure))
    }

    const fn of(outcome: Result<T, Failure>) -> Self {
        Self { outcome, cost: Money::ZERO, delay: Duration::ZERO, expected_effect: None, check: None }
    }

    /// Answers only after this time of the script's clock.
    #[must_use]
    pub const fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Says what the answer costs, also when it is a failure.
    #[must_use]
    pub const fn cost(mut self, cost: Money) -> Self {
        self.cost = cost;
        self
    }

    /// Asserts the order: the call that gets this answer must come from the effect `id`.
    #[must_use]
    pub fn from_effect(mut self, id: &str) -> Self {
        self.expected_effect = Some(id.to_owned());
        self
    }

    /// Asserts something about the call's input; the error says what is wrong with it.
    #[must_use]
    pub fn expecting(mut self, check: impl Fn(&Payload) -> Result<(), String> + Send + Sync + 'static) -> Self {
        self.check = Some(Arc::new(check));
        self
    }

    /// Asserts that the call's input has this text somewhere in its JSON.
    #[must_use]
    pub fn expecting_text(self, text: &str) -> Self {
        let text = text.to_owned();
        self.expecting(move |input| {
            if input.as_str().contains(&text) { Ok(()) } else { Err(format!("its input does not contain {text:?}")) }
        })
    }
}

/// What a script holds against the calls it got. Its `Display` form lists every complaint on a line of its own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the script {name:?} was not followed:{}", .complaints.iter().map(|c| format!("\n- {c}")).collect::<String>())]
pub struct ScriptError {
    /// The script's name.
    pub name: String,
    /// Calls it did not expect, and answers that nobody asked for.
    pub complaints: Vec<String>,
}

/// The answers, shared by all clones of a scripted adapter or skill.
struct Script<T> {
    name: String,
    clock: Arc<dyn Clock>,
    state: Mutex<State<T>>,
}

struct State<T> {
    /// Answers for whoever calls next.
    in_order: VecDeque<Turn<T>>,
    /// Answers for the calls of one effect.
    by_effect: BTreeMap<String, VecDeque<Turn<T>>>,
    /// What an attempt got, by idempotency key and attempt: one that is repeated after a crash gets it again.
    given: BTreeMap<(String, u32), Turn<T>>,
    calls: Vec<(String, Payload)>,
    complaints: Vec<String>,
}

/// Who calls.
struct Caller<'a> {
    effect: Option<&'a EffectId>,
    /// Empty when there is none: then every call gets an answer of its own.
    idempotency_key: &'a str,
    attempt: u32,
}

impl<T: Clone + fmt::Debug> Script<T> {
    fn new(name: &str, clock: Arc<dyn Clock>) -> Self {
        let state = State {
            in_order: VecDeque::new(),
            by_effect: BTreeMap::new(),
            given: BTreeMap::new(),
            calls: Vec::new(),
            complaints: Vec::new(),
        };
        Self { name: name.to_owned(), clock, state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, effect: Option<&str>, turn: Turn<T>) {
        let mut state = self.lock();
        match effect {
            Some(effect) => state.by_effect.entry(effect.to_owned()).or_default().push_back(turn),
            None => state.in_order.push_back(turn),
        }
    }

    /// Plays the answer to a call: waits for its delay, then gives it with its cost.
    async fn play(&self, caller: Caller<'_>, input: &Payload) -> Result<(T, Money), Failure> {
        let turn = self.lock().turn_of(&self.name, &caller, input)?;
        if !turn.delay.is_zero() {
            self.clock.sleep_until(self.clock.now().saturating_add(turn.delay)).await;
        }
        let cost = turn.cost;
        turn.outcome.map(|value| (value, cost)).map_err(|failure| {
            let cost = failure.cost.saturating_add(cost);
            failure.cost(cost)
        })
    }

    fn calls(&self) -> Vec<(String, Payload)> {
        self.lock().calls.clone()
    }

    fn finish(&self) -> Result<(), ScriptError> {
        let state = self.lock();
        let mut complaints = state.complaints.clone();
        complaints.extend(state.in_order.iter().map(|turn| format!("nobody asked for {}", summary(&turn.outcome))));
        for (effect, turns) in &state.by_effect {
            complaints
                .extend(turns.iter().map(|turn| format!("effect {effect} did not ask for {}", summary(&turn.outcome))));
        }
        if complaints.is_empty() { Ok(()) } else { Err(ScriptError { name: self.name.clone(), complaints }) }
    }
}

impl<T: Clone + fmt::Debug> State<T> {
    fn turn_of(&mut self, script: &str, caller: &Caller<'_>, input: &Payload) -> Result<Turn<T>, Failure> {
        let attempt = (caller.idempotency_key.to_owned(), caller.attempt);
        if let Some(given) = self.given.get(&attempt) {
            return Ok(given.clone());
        }
        let turn = self.take(script, caller.effect.map_or("(no effect)", EffectId::as_str), input)?;
        if !caller.idempotency_key.is_empty() {
            self.given.insert(attempt, turn.clone());
        }
        Ok(turn)
    }

    fn take(&mut self, script: &str, effect: &str, input: &Payload) -> Result<Turn<T>, Failure> {
        self.calls.push((effect.to_owned(), input.clone()));
        let number = self.calls.len();
        let turn = match self.by_effect.get_mut(effect).and_then(VecDeque::pop_front) {
            Some(turn) => Ok(turn),
            None => self.in_order.pop_front().ok_or_else(|| "the script has no answer left for it".to_owned()),
        };
        let checked = turn.and_then(|turn| {
            if let Some(expected) = turn.expected_effect.as_ref().filter(|expected| *expected != effect) {
                return Err(format!("effect {expected} was expected to call"));
            }
            if let Some(check) = &turn.check {
                check(input)?;
            }
            Ok(turn)
        });
        checked.map_err(|why| {
            let complaint = format!("call {number}, by effect {effect}: {why} (input {})", short(input.as_str()));
            self.complaints.push(complaint.clone());
            Failure::new(Code::custom(ERR_SCRIPT), format!("the script {script:?} was not followed: {complaint}"))
        })
    }
}

fn summary<T: fmt::Debug>(outcome: &Result<T, Failure>) -> String {
    match outcome {
        Ok(value) => format!("the answer {}", short(&format!("{value:?}"))),
        Err(failure) => format!("the failure {}", short(&failure.to_string())),
    }
}

fn short(text: &str) -> String {
    const SHOWN: usize = 120;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
