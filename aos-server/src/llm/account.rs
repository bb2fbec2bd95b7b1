//! What attempts cost: reserved before they are made, known or bounded after.

use std::sync::Arc;
use std::time::Duration;

use aos_core::id::{CallId, TenantId};
use aos_core::ledger::{LedgerStore, NewCall, Settlement};
use aos_core::llm::{LlmAnswer, LlmCall, LlmFailure, PriceBook, Sent, Usage, bill};
use aos_core::money::Money;
use aos_core::time::{Clock, Timestamp};
use aos_core::{Failure, codes};

/// For how long an attempt may be open: longer than any takes, so that only a dead process leaves one open.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// How often a settlement is tried that the store did not take, and the pause before the second time.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);

/// Writes attempts into the ledger, at the prices of a book. Cheap to clone.
#[derive(Clone)]
pub struct Account {
    ledger: Arc<dyn LedgerStore>,
    book: Arc<PriceBook>,
    clock: Arc<dyn Clock>,
}

/// An attempt that is reserved.
pub struct Open {
    account: Account,
    tenant: TenantId,
    call: CallId,
    model: String,
    bound: Option<Money>,
    at: Timestamp,
}

/// An attempt of which it is known how it ended.
pub struct Settled {
    open: Open,
    settlement: Settlement,
}

impl Account {
    /// An account in `ledger`, by the prices of `book`.
    pub const fn new(ledger: Arc<dyn LedgerStore>, book: Arc<PriceBook>, clock: Arc<dyn Clock>) -> Self {
        Self { ledger, book, clock }
    }

    /// Reserves the most that a call may cost; durable when it resolves.
    ///
    /// # Errors
    /// [`codes::BUDGET_EXCEEDED`], and a store that fails: what can't be written down is not spent.
    pub(super) async fn open(&self, adapter: &str, call: &LlmCall, input_tokens: u64) -> Result<Open, Failure> {
        let at = self.clock.now();
        let model = call.request.model.clone();
        let bound = self.book.bound(&model, input_tokens, u64::from(call.request.max_tokens), at);
        let new = NewCall { bound, ..self.new_call(adapter, call)? };
        self.ledger.reserve(&new).await?.check(&new)?;
        let NewCall { tenant, call, .. } = new;
        Ok(Open { account: self.clone(), tenant, call, model, bound, at })
    }

    /// Writes down that an answer was there already. Nothing depends on it.
    pub(super) async fn cached(&self, adapter: &str, call: &LlmCall) {
        let written = async {
            let new = NewCall { cached: true, ..self.new_call(adapter, call)? };
            Ok::<_, Failure>(self.ledger.reserve(&new).await?)
        };
        if let Err(failure) = written.await {
            tracing::warn!(code = %failure.code, error = failure.message, "an answer from the cache is not in the ledger");
        }
    }

    fn new_call(&self, adapter: &str, call: &LlmCall) -> Result<NewCall, Failure> {
        let id = CallId::new(uuid::Uuid::now_v7().to_string());
        Ok(NewCall {
            tenant: call.tenant.clone(),
            call: id.map_err(|error| Failure::new(codes::INTERNAL, error.to_string()))?,
            run: call.run.clone(),
            workflow: call.workflow.as_ref().map(|workflow| workflow.id.clone()),
            effect: call.effect.clone(),
            attempt: call.attempt,
            fallback: call.fallback,
            adapter: adapter.to_owned(),
            model: call.request.model.clone(),
            api_key: call.api_key.clone(),
            request: call.request.hash()?,
            bound: None,
            book: Some(self.book.hash()),
            patience: PATIENCE,
            cached: false,
        })
    }
}

impl Open {
    /// Nothing was sent after all.
    pub(super) async fn not_sent(self) {
        Settled { settlement: Settlement::new(Sent::No), open: self }.book().await;
    }

    /// Puts a price on how the attempt ended, and into what the workflow gets.
    pub(super) fn price(self, result: &mut Result<LlmAnswer, LlmFailure>) -> Settled {
        let settlement = match result {
            Ok(answer) => self.price_answer(answer),
            Err(failure) => self.price_failure(failure),
        };
        Settled { open: self, settlement }
    }

    fn price_answer(&self, answer: &mut LlmAnswer) -> Settlement {
        let book = &self.account.book;
        let (answered, usage) = (answer.response.model.clone(), answer.response.usage);
        // A server that doesn't say what was used has used something: that is not nothing, but unknown.
        let is_known = usage != Usage::default();
        let price = |model: &str| if is_known { book.price(model, &usage, self.at) } else { None };
        if let Some(priced) = price(&answered).or_else(|| price(&self.model)) {
            (answer.cost, answer.price) = (Some(priced.cost), Some(priced.price));
        }
        Settlement {
            model: Some(answered),
            request_id: answer.request_id.clone(),
            usage: is_known.then_some(usage),
            cost: answer.cost,
            ..Settlement::new(Sent::Answered)
        }
    }

    /// What failed may be paid for as well: at what was used, where that is known, and else at the most that it can be.
    fn price_failure(&self, failure: &mut LlmFailure) -> Settlement {
        let priced = failure.usage.and_then(|usage| self.account.book.price(&self.model, &usage, self.at));
        let settlement = Settlement {
            request_id: failure.request_id.clone(),
            usage: failure.usage,
            cost: priced.as_ref().map(|priced| priced.cost),
            ..Settlement::new(failure.sent)
        };
        let (_, most) = settlement.range(self.bound);
        failure.failure.cost = most.unwrap_or_default();
        if let Some(usage) = &failure.usage {
            let price = priced.map(|priced| priced.price);
            *failure.failure = bill((*failure.failure).clone(), &self.model, usage, price.as_ref());
        }
        settlement
    }
}

impl Settled {
    /// Writes it down. What can't be written stays reserved at its bound, and counts so.
    pub(super) async fn book(self) {
        let Self { open: Open { account, tenant, call, .. }, settlement } = self;
        let mut pause = PAUSE;
        for again in (0..TRIES).rev() {
            match account.ledger.settle(&tenant, &call, &settlement).await {
                Ok(()) => return,
                Err(error) if again == 0 => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(error, %call, "what a model call cost is not in the ledger: it counts at its bound");
                }
                Err(_) => {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
            }
        }
    }
}
