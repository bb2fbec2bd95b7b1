//! The set of a host's adapters, the operator's switches over it, and the rules by which one is chosen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use serde::Serialize;

use super::adapter::{LlmAdapter, LlmAnswer, LlmCall};
use super::delta::Deltas;
use super::failure::{LlmFailure, Sent};
use crate::error::{Failure, codes};
use crate::text;

/// The name of the deterministic adapter that [`Switches::force_stub_adapter`] sends every call to.
pub const STUB: &str = "stub";

/// An operator's controls over live adapters. They take effect with the next call, in every clone of the handle.
///
/// The switches fail closed: while the host can't read their shared state, live adapters count as switched off.
#[derive(Debug, Default)]
pub struct Switches {
    disable_live_adapters: AtomicBool,
    force_stub_adapter: AtomicBool,
    unreadable: AtomicBool,
}

impl Switches {
    /// Whether live adapters are switched off.
    pub fn disable_live_adapters(&self) -> bool {
        self.disable_live_adapters.load(SeqCst)
    }

    /// Whether every call goes to the stub.
    pub fn force_stub_adapter(&self) -> bool {
        self.force_stub_adapter.load(SeqCst)
    }

    /// Whether the host can't read the switches' shared state at the moment.
    pub fn unreadable(&self) -> bool {
        self.unreadable.load(SeqCst)
    }

    /// Switches live adapters off (or on again).
    pub fn set_disable_live_adapters(&self, on: bool) {
        self.disable_live_adapters.store(on, SeqCst);
    }

    /// Sends every call to the stub (or no longer).
    pub fn set_force_stub_adapter(&self, on: bool) {
        self.force_stub_adapter.store(on, SeqCst);
    }

    /// Says whether the shared state of the switches can't be read: while it can't, live adapters stay off.
    pub fn set_unreadable(&self, unreadable: bool) {
        self.unreadable.store(unreadable, SeqCst);
    }

    /// Whether live adapters may be called.
    pub fn live_allowed(&self) -> bool {
        !self.disable_live_adapters() && !self.unreadable()
    }
}

/// The adapters of a host.
///
/// A call is made with the adapter it names, or the default one, under these rules, checked anew before each call:
///
/// 1. With [`Switches::force_stub_adapter`] on, every call goes to the adapter called [`STUB`], whatever it names.
/// 2. With [`Switches::disable_live_adapters`] on, or the switches unreadable, a call to a live adapter fails with
///    [`codes::LLM_ADAPTER_DISABLED`]: nothing is spent, nothing is retried.
/// 3. A name that no adapter has fails with [`codes::LLM_ADAPTER_NOT_FOUND`], listing the names there are.
#[derive(Clone)]
pub struct Adapters {
    by_name: BTreeMap<String, Arc<dyn LlmAdapter>>,
    expected_live: BTreeSet<String>,
    default: String,
    switches: Arc<Switches>,
    watcher: Option<Watcher>,
}

/// Gives whoever watches a call's answer while it is being written.
type Watcher = Arc<dyn Fn(&LlmCall) -> Deltas + Send + Sync>;

/// One line of a host's list of adapters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AdapterStatus {
    /// The adapter's name.
    pub name: String,
    /// Whether a call reaches a provider.
    pub live: bool,
    /// Whether calls go to it when a step names none.
    pub default: bool,
}

impl Adapters {
    /// No adapters yet, under `switches`. The default adapter is [`STUB`].
    pub fn new(switches: Arc<Switches>) -> Self {
        Self { by_name: BTreeMap::new(), expected_live: BTreeSet::new(), default: STUB.into(), switches, watcher: None }
    }

    /// Adds an adapter; it replaces one of the same name.
    #[must_use]
    pub fn with(mut self, adapter: Arc<dyn LlmAdapter>) -> Self {
        self.by_name.insert(adapter.name().to_owned(), adapter);
        self
    }

    /// Sets the adapter for calls that name none.
    #[must_use]
    pub fn default_adapter(mut self, name: impl Into<String>) -> Self {
        self.default = name.into();
        self
    }

    /// Names a live adapter that this host knows but has not set up (it has no key, say), so that naming it while
    /// live adapters are off gives the same failure as on a host that has it.
    #[must_use]
    pub fn expect_live(mut self, name: impl Into<String>) -> Self {
        self.expected_live.insert(name.into());
        self
    }

    /// Passes pieces of answers, of calls that ask for it, to what `watcher` gives for the call.
    #[must_use]
    pub fn watched_by(mut self, watcher: impl Fn(&LlmCall) -> Deltas + Send + Sync + 'static) -> Self {
        self.watcher = Some(Arc::new(watcher));
        self
    }

    /// The operator's switches.
    pub fn switches(&self) -> &Arc<Switches> {
        &self.switches
    }

    /// The adapters that calls can reach now, by name: without the live ones while these are off.
    pub fn list(&self) -> Vec<AdapterStatus> {
        let live_allowed = self.switches.live_allowed() && !self.switches.force_stub_adapter();
        self.by_name
            .iter()
            .filter(|(_, adapter)| live_allowed || !adapter.is_live())
            .map(|(name, adapter)| AdapterStatus {
                name: name.clone(),
                live: adapter.is_live(),
                default: *name == self.default,
            })
            .collect()
    }

    /// The adapter that a call naming `name` reaches now.
    ///
    /// # Errors
    /// [`codes::LLM_ADAPTER_DISABLED`] or [`codes::LLM_ADAPTER_NOT_FOUND`], by the rules above.
    pub fn select(&self, name: Option<&str>) -> Result<Arc<dyn LlmAdapter>, Failure> {
        if self.switches.force_stub_adapter() {
            return self.by_name.get(STUB).filter(|stub| !stub.is_live()).cloned().ok_or_else(|| {
                let why = "force_stub_adapter sends every call to the stub, and this host has no stub adapter";
                Failure::new(codes::LLM_ADAPTER_DISABLED, why)
            });
        }
        let name = name.unwrap_or(&self.default);
        let adapter = self.by_name.get(name);
        let live = adapter.map_or_else(|| self.expected_live.contains(name), |adapter| adapter.is_live());
        if live && !self.switches.live_allowed() {
            return Err(self.disabled(name));
        }
        adapter.cloned().ok_or_else(|| self.not_found(name))
    }

    /// Checks the request, then makes the call with the adapter that [`Adapters::select`] gives at this moment. An
    /// adapter may itself find, after it has waited for its turn, that it was switched off meanwhile: then the rules
    /// are asked again.
    ///
    /// # Errors
    /// As [`LlmRequest::check`](super::LlmRequest::check) and [`Adapters::select`], and the adapter's own failures.
    pub async fn invoke(&self, name: Option<&str>, mut call: LlmCall) -> Result<LlmAnswer, LlmFailure> {
        call.request.check()?;
        if call.stream {
            call.deltas = self.watcher.as_ref().map(|watcher| watcher(&call));
        }
        match self.select(name)?.invoke(call.clone()).await {
            Err(failure) if failure.sent == Sent::No && *failure.code() == codes::LLM_ADAPTER_DISABLED => {
                let adapter = self.select(name)?;
                if adapter.is_live() { Err(failure) } else { adapter.invoke(call).await }
            }
            result => result,
        }
    }

    fn disabled(&self, name: &str) -> Failure {
        let why = if self.switches.disable_live_adapters() {
            "the switch disable_live_adapters is on"
        } else {
            "the state of the switches can't be read, so live adapters count as off"
        };
        Failure::new(codes::LLM_ADAPTER_DISABLED, format!("the adapter {name:?} is live, and {why}; {}", self.names()))
    }

    fn not_found(&self, name: &str) -> Failure {
        let why = if self.expected_live.contains(name) { "is not set up on this host" } else { "does not exist here" };
        let hint = text::nearest(name, self.by_name.keys().map(String::as_str))
            .map(|near| format!(" (did you mean {near:?}?)"))
            .unwrap_or_default();
        Failure::new(codes::LLM_ADAPTER_NOT_FOUND, format!("the adapter {name:?} {why}{hint}; {}", self.names()))
    }

    fn names(&self) -> String {
        let names: Vec<String> = self.list().into_iter().map(|status| status.name).collect();
        format!("there is [{}]", names.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BoxFuture;
    use crate::llm::{LlmRequest, LlmResponse, StopReason, Usage};
    use crate::random::Seed;

    struct Named(&'static str, bool);

    impl LlmAdapter for Named {
        fn name(&self) -> &str {
            self.0
        }

        fn is_live(&self) -> bool {
            self.1
        }

        fn invoke(&self, call: LlmCall) -> BoxFuture<'_, Result<LlmAnswer, LlmFailure>> {
            let response = LlmResponse {
                content: vec![],
                stop_reason: StopReason::EndTurn,
                usage: Usage::default(),
                model: call.request.model.clone(),
                adapter: self.0.into(),
            };
            Box::pin(async move { Ok(LlmAnswer::new(response, None)) })
        }
    }

    fn adapters() -> Adapters {
        Adapters::new(Arc::default())
            .with(Arc::new(Named("stub", false)))
            .with(Arc::new(Named("claude", true)))
            .expect_live("gemini")
    }

    fn outcome(adapters: &Adapters, name: Option<&str>) -> String {
        let call = LlmCall::new(LlmRequest::new("m", "hi"), Seed::default());
        match pollster::block_on(adapters.invoke(name, call)) {
            Ok(answer) => answer.response.adapter,
            Err(failure) => {
                assert!(!failure.failure.retryable && failure.sent == Sent::No, "{failure}");
                failure.to_string()
            }
        }
    }

    #[test]
    fn chooses_by_name_default_and_switches() {
        let disabled = "ERR_LLM_ADAPTER_DISABLED: the adapter \"claude\" is live, and the switch disable_live_adapters is on; there is [stub]";
        let unreadable = "ERR_LLM_ADAPTER_DISABLED: the adapter \"claude\" is live, and the state of the switches can't be read, so live adapters count as off; there is [stub]";
        let typo = "ERR_LLM_ADAPTER_NOT_FOUND: the adapter \"cluade\" does not exist here (did you mean \"claude\"?); there is [claude, stub]";
        let absent =
            "ERR_LLM_ADAPTER_NOT_FOUND: the adapter \"gemini\" is not set up on this host; there is [claude, stub]";
        let absent_disabled = "ERR_LLM_ADAPTER_DISABLED: the adapter \"gemini\" is live, and the switch disable_live_adapters is on; there is [stub]";
        for (disable, force, unread, name, expected) in [
            (false, false, false, None, "stub"),
            (false, false, false, Some("claude"), "claude"),
            (false, false, false, Some("cluade"), typo),
            (false, false, false, Some("gemini"), absent),
            (true, false, false, Some("claude"), disabled),
            (true, false, false, Some("gemini"), absent_disabled),
            (true, false, false, Some("stub"), "stub"),
            (true, true, false, Some("claude"), "stub"),
            (false, true, false, Some("claude"), "stub"),
            (false, true, false, Some("nobody"), "stub"),
            (false, false, true, Some("claude"), unreadable),
            (false, false, true, None, "stub"),
            (false, true, true, Some("claude"), "stub"),
        ] {
            let adapters = adapters();
            adapters.switches().set_disable_live_adapters(disable);
            adapters.switches().set_force_stub_adapter(force);
            adapters.switches().set_unreadable(unread);
            assert_eq!(outcome(&adapters, name), expected, "{disable} {force} {unread} {name:?}");
        }
    }

    #[test]
    fn a_live_default_is_refused_like_a_name() {
        let adapters = adapters().default_adapter("claude");
        assert_eq!(outcome(&adapters, None), "claude");
        adapters.switches().set_disable_live_adapters(true);
        assert!(outcome(&adapters, None).starts_with("ERR_LLM_ADAPTER_DISABLED"));
        adapters.switches().set_disable_live_adapters(false);
        assert_eq!(outcome(&adapters, None), "claude");
    }

    #[test]
    fn forcing_a_stub_that_is_not_there_refuses() {
        for adapter in [Named("claude", true), Named("stub", true)] {
            let adapters = Adapters::new(Arc::default()).with(Arc::new(adapter));
            adapters.switches().set_force_stub_adapter(true);
            assert!(outcome(&adapters, Some("claude")).starts_with("ERR_LLM_ADAPTER_DISABLED"));
        }
    }

    #[test]
    fn lists_what_can_be_reached() {
        let adapters = adapters();
        let names = |adapters: &Adapters| adapters.list().into_iter().map(|s| s.name).collect::<Vec<_>>();
        assert_eq!(names(&adapters), ["claude", "stub"]);
        adapters.switches().set_disable_live_adapters(true);
        assert_eq!(names(&adapters), ["stub"]);
    }

    #[test]
    fn bad_requests_reach_no_adapter() {
        let call = LlmCall::new(LlmRequest::new("", "hi"), Seed::default());
        let failure = pollster::block_on(adapters().invoke(None, call)).unwrap_err();
        assert_eq!(*failure.code(), codes::LLM_INVALID_REQUEST);
    }
}
