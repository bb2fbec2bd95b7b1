//! Skills that fail, wait, book and store. Their outputs are functions of their inputs, so that runs of one workflow
//! have one content hash whatever happens around them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aos_core::canonical::Hash;
use aos_core::money::Money;
use aos_core::payload::Payload;
use aos_core::skill::{SkillCall, SkillContract, SkillOutput, TypedSkill};
use aos_core::time::Clock;
use aos_core::{Code, Failure, codes};
use serde_json::{Value, json};

/// `flaky@1.0.0` (idempotent): fails its first `fail_attempts` attempts with `code` (default `ERR_SKILL_FAILED`,
/// retryable unless `final` is true), then gives `value`. Each attempt costs `cost_cents`.
///
/// # Errors
/// None in practice: the contract is a constant.
pub fn flaky() -> Result<TypedSkill, Failure> {
    let contract =
        SkillContract::idempotent("flaky", "1.0.0")?.description("Fails as often as it is told to.").schemas(
            json!({"type": "object", "properties": {
                "code": {"type": "string"}, "cost_cents": {"type": "integer", "minimum": 0},
                "fail_attempts": {"type": "integer", "minimum": 0}, "final": {"type": "boolean"}, "value": true
            }}),
            json!(true),
        );
    Ok(TypedSkill::untyped(contract, |call| async move {
        let input = call.input.value();
        let cost = Money::from_cents(input["cost_cents"].as_u64().unwrap_or(0));
        if u64::from(call.attempt) <= input["fail_attempts"].as_u64().unwrap_or(0) {
            let code = input["code"].as_str().map_or(codes::SKILL_FAILED, Code::custom);
            let message = format!("attempt {} fails, as it was told to", call.attempt);
            return Err(Failure::new(code, message).retryable(input["final"] != true).cost(cost));
        }
        Ok(SkillOutput { output: Payload::new(input["value"].clone())?, cost })
    }))
}

/// `slow@1.0.0` (idempotent): gives `value` after `ms` milliseconds of `clock`'s time.
///
/// # Errors
/// None in practice: the contract is a constant.
pub fn slow(clock: Arc<dyn Clock>) -> Result<TypedSkill, Failure> {
    let contract = SkillContract::idempotent("slow", "1.0.0")?.description("Takes its time.").schemas(
        json!({"type": "object", "required": ["ms"], "properties": {"ms": {"type": "integer", "minimum": 0}, "value": true}}),
        json!(true),
    );
    Ok(TypedSkill::untyped(contract, move |call| {
        let clock = Arc::clone(&clock);
        async move {
            let input = call.input.value();
            let ms = input["ms"].as_u64().unwrap_or(0);
            clock.sleep_until(clock.now().saturating_add(Duration::from_millis(ms))).await;
            Ok(Payload::new(input["value"].clone())?.into())
        }
    }))
}

/// One entry of a [`Ledger`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Booking {
    /// The idempotency key of the effect that booked it.
    pub key: String,
    /// What was booked.
    pub entry: Payload,
}

/// A ledger that books whatever it is told, without a look at what was booked before: two calls are two bookings.
#[derive(Clone, Default)]
pub struct Ledger(Arc<Mutex<Vec<Booking>>>);

impl Ledger {
    /// All bookings, in order.
    pub fn bookings(&self) -> Vec<Booking> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Bookings that were made more than once for one effect: what a `once` skill must never have.
    pub fn doubles(&self) -> Vec<Booking> {
        let mut seen = BTreeSet::new();
        self.bookings().into_iter().filter(|booking| !seen.insert(booking.key.clone())).collect()
    }

    /// `ledger@1.0.0` (once): books its input; gives a receipt that is a function of it. Fails for good, without a
    /// booking, when the input has `"refuse": true`.
    ///
    /// # Errors
    /// None in practice: the contract is a constant.
    pub fn skill(&self) -> Result<TypedSkill, Failure> {
        let contract = SkillContract::once("ledger", "1.0.0")?
            .description("Books an entry, every time it is called.")
            .schemas(json!({"type": "object"}), json!({"type": "object", "required": ["receipt"]}));
        let bookings = Arc::clone(&self.0);
        Ok(TypedSkill::untyped(contract, move |call: SkillCall| {
            let bookings = Arc::clone(&bookings);
            async move {
                if call.input.value()["refuse"] == true {
                    return Err(Failure::new(codes::CONFLICT, "the ledger refuses the entry"));
                }
                let receipt = Hash::of(format!("receipt {}", call.input)).to_string();
                let booking = Booking { key: call.idempotency_key, entry: call.input };
                bookings.lock().unwrap_or_else(PoisonError::into_inner).push(booking);
                Ok(Payload::new(json!({"receipt": &receipt[..16]}))?.into())
            }
        }))
    }
}

/// A store of values by key, which does one idempotency key's work once.
#[derive(Clone, Default)]
pub struct Shelf(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    values: BTreeMap<String, Value>,
    /// Idempotency keys whose work is done.
    done: BTreeSet<String>,
}

impl Shelf {
    /// The value under `key`.
    pub fn get(&self, key: &str) -> Option<Value> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values.get(key).cloned()
    }

    /// `store@1.0.0` (idempotent): keeps `value` under `key`; gives `key`, `bytes` and `sha256` of what it keeps.
    ///
    /// # Errors
    /// None in practice: the contract is a constant.
    pub fn skill(&self) -> Result<TypedSkill, Failure> {
        let contract = SkillContract::idempotent("store", "1.0.0")?.description("Keeps a value under a key.").schemas(
            json!({"type": "object", "required": ["key", "value"], "properties": {"key": {"type": "string", "minLength": 1}, "value": true}}),
            json!({"type": "object", "required": ["key", "bytes", "sha256"]}),
        );
        let shelf = Arc::clone(&self.0);
        Ok(TypedSkill::untyped(contract, move |call: SkillCall| {
            let shelf = Arc::clone(&shelf);
            async move {
                let input = call.input.value();
                let Some(key) = input["key"].as_str().map(str::to_owned) else {
                    return Err(Failure::new(codes::INVALID_INPUT, "/key is not a string"));
                };
                let value = Payload::new(input["value"].clone())?;
                let mut shelf = shelf.lock().unwrap_or_else(PoisonError::into_inner);
                if shelf.done.insert(call.idempotency_key) {
                    shelf.values.insert(key.clone(), value.value().clone());
                }
                Ok(Payload::new(json!({"key": key, "bytes": value.len(), "sha256": value.hash()}))?.into())
            }
        }))
    }
}
