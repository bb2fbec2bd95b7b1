//! The skills `http_call` and `http_call_once`: one HTTP request to a public address, bounded in time, size and
//! redirects. They differ in what happens after a crash: the first sends the request again, the second never does.
//!
//! Where it may go is decided by the [`Guard`]: on the URL, on every redirect, and on the addresses a connection
//! really uses. Proxies of the environment are not used, because behind one nobody knows what is connected to.

mod allow;
mod body;
mod client;
mod exchange;
mod failure;
mod guard;
mod input;
mod output;

pub use allow::AllowList;
pub use client::Lookup;
pub use guard::{Blocked, Guard, is_public};
pub use input::{Input, Method, QueryValue};
pub use output::{BodyKind, Output};

use std::sync::Arc;

use aos_core::skill::{Skill, SkillCall, SkillContract, SkillResult};
use aos_core::{BoxFuture, Failure, Payload};

use client::Clients;

/// The skill `http_call@1.0.0`, which is idempotent, or `http_call_once@1.0.0`, which never sends a request twice. Both
/// are recorded.
///
/// Requests that change something carry the effect's idempotency key as `Idempotency-Key`, the same for every
/// attempt, so that a server that honours it does the work once. `http_call_once` is for servers that don't.
pub struct HttpCall {
    contract: SkillContract,
    clients: Arc<Clients>,
}

impl HttpCall {
    /// The skill `http_call`, reaching public addresses and what `allow` opens.
    ///
    /// # Errors
    /// [`HTTP_FAILED`](aos_core::codes::HTTP_FAILED) when TLS can't be set up on this machine.
    pub fn new(allow: AllowList) -> Result<Self, Failure> {
        Self::with_lookup(allow, client::system_lookup())
    }

    /// As [`HttpCall::new`], with a name service of the caller's own.
    ///
    /// # Errors
    /// As [`HttpCall::new`].
    pub fn with_lookup(allow: AllowList, lookup: Lookup) -> Result<Self, Failure> {
        let contract = SkillContract::idempotent("http_call", "1.0.0")?
            .description("Sends one HTTP request to a public address and returns status, headers and body.");
        Ok(Self { contract: describe(contract), clients: Arc::new(Clients::new(Guard::new(allow), lookup)?) })
    }

    /// The skill `http_call_once`, with the connections and the reach of this one.
    ///
    /// # Errors
    /// None that can happen: the name and the version are well-formed.
    pub fn once(&self) -> Result<Self, Failure> {
        let contract = SkillContract::once("http_call_once", "1.0.0")?.description(
            "Sends one HTTP request as http_call does, and never twice: after a crash the outcome is unknown.",
        );
        Ok(Self { contract: describe(contract), clients: Arc::clone(&self.clients) })
    }
}

/// What is made of an input, and whether its URL may be asked. For fuzzing, which has no network.
#[doc(hidden)]
pub fn understand(input: Input, guard: &Guard) -> Result<url::Url, Failure> {
    let request = input.check("key", None)?;
    guard.url(&request.url).map_err(|blocked| Failure::new(aos_core::codes::HTTP_BLOCKED, blocked.to_string()))?;
    Ok(request.url)
}

fn describe(contract: SkillContract) -> SkillContract {
    let contract = contract.schemas(schemars::schema_for!(Input).to_value(), schemars::schema_for!(Output).to_value());
    let volatile = output::VOLATILE_HEADERS.iter().map(|name| format!("/headers/{name}"));
    contract.volatile(std::iter::once("/elapsed_ms".to_owned()).chain(volatile))
}

impl Skill for HttpCall {
    fn contract(&self) -> &SkillContract {
        &self.contract
    }

    fn call(&self, call: SkillCall) -> BoxFuture<'_, SkillResult> {
        Box::pin(async move {
            let input: Input = call.input.to()?;
            let request = input.check(&call.idempotency_key, call.trace)?;
            let output = exchange::run(&self.clients, request).await?;
            Ok(Payload::from_serialize(&output)?.into())
        })
    }
}

#[cfg(test)]
mod tests;
