//! The registry that a host shares between its parts.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use serde_json::Value;

use super::diff::{self, ContractDiff};
use super::record::{Action, Change, Record, SkillRecord, Status, Subject, WorkflowRecord};
use super::state::{SkillEntry, State};
use crate::BoxFuture;
use crate::error::{Failure, codes};
use crate::id::TenantId;
use crate::payload::Payload;
use crate::skill::schema::{ContractSchemas, PlanInput, SchemaCompiler, Unchecked};
use crate::skill::{Skill, SkillCall, SkillContract, SkillResult, SkillSource, SkillVersion};
use crate::time::Timestamp;
use crate::workflow::{Plan, Resolver, WorkflowVersion};

/// The skills and workflows of one tenant, versions side by side. A clone shares them.
///
/// Every change returns the [`Change`]s it made, for the audit log and for counters; nothing changed gives none.
/// A method that fails has changed nothing. To keep a registry in a store, see
/// [`Registry::commit`].
///
/// ```
/// use std::sync::Arc;
/// use aos_core::registry::Registry;
/// use aos_core::skill::{SkillContract, TypedSkill};
/// use aos_core::time::Timestamp;
/// use aos_core::workflow::Resolver;
///
/// let registry = Registry::new();
/// for version in ["1.0.0", "1.2.0", "2.0.0"] {
///     let contract = SkillContract::pure("greet", version)?;
///     let skill = TypedSkill::untyped(contract, |call| async move { Ok(call.input.into()) });
///     registry.register(Arc::new(skill), Timestamp::EPOCH)?;
/// }
/// assert_eq!(registry.skill("greet@^1")?.version.to_string(), "greet@1.2.0");
/// # Ok::<(), aos_core::Failure>(())
/// ```
#[derive(Clone)]
pub struct Registry(Arc<Shared>);

struct Shared {
    tenant: TenantId,
    schemas: Arc<dyn SchemaCompiler>,
    state: RwLock<Arc<State>>,
}

/// What registering a skill version did.
#[derive(Clone, Debug, PartialEq)]
pub struct Registered {
    /// One change for a new version, none for one that was there already.
    pub changes: Vec<Change>,
    /// How the contract differs from that of the highest version below it, and whether the version number says so;
    /// `None` for the first version. The registry only reports: whether to refuse is the caller's decision.
    pub diff: Option<ContractDiff>,
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl Registry {
    /// An empty registry of the default tenant, which checks no payloads against schemas.
    pub fn new() -> Self {
        Self::build(TenantId::default(), Arc::new(Unchecked))
    }

    /// An empty registry of `tenant`, whose skills have their inputs and outputs checked by what `schemas` compiles.
    pub fn build(tenant: TenantId, schemas: Arc<dyn SchemaCompiler>) -> Self {
        Self(Arc::new(Shared { tenant, schemas, state: RwLock::default() }))
    }

    /// Whose registry this is.
    pub fn tenant(&self) -> &TenantId {
        &self.0.tenant
    }

    /// The store's revision that the content is based on; 0 for a registry that was never kept in a store.
    pub fn revision(&self) -> u64 {
        self.state().revision
    }

    /// Registers a skill with its code.
    ///
    /// A version that is registered with the same contract gets the code, if it had none, and nothing else changes: a
    /// disabled one stays disabled.
    ///
    /// # Errors
    /// [`codes::CONFLICT`] when the version is registered with another contract, naming what differs and the version
    /// it needs; [`codes::INVALID_DEFINITION`] for a bad schema.
    pub fn register(&self, skill: Arc<dyn Skill>, now: Timestamp) -> Result<Registered, Failure> {
        let contract = skill.contract().clone();
        self.change(|state| {
            let version = contract.version.clone();
            let registered = self.register_in(state, contract, now)?;
            state.put_code(&version, skill);
            Ok(registered)
        })
    }

    /// Registers a skill that other hosts execute: its contract only.
    ///
    /// # Errors
    /// As [`Registry::register`].
    pub fn register_remote(&self, contract: SkillContract, now: Timestamp) -> Result<Registered, Failure> {
        self.change(|state| self.register_in(state, contract, now))
    }

    /// Registers a plan: that of a Rust workflow, with `null` as its `definition`, or one that was resolved from
    /// `definition`.
    ///
    /// # Errors
    /// [`codes::CONFLICT`] when the version is registered with another definition, naming what differs.
    pub fn register_plan(&self, definition: Value, plan: Arc<Plan>, now: Timestamp) -> Result<Vec<Change>, Failure> {
        self.change(|state| self.register_plan_in(state, definition, plan, now))
    }

    /// Resolves a workflow's requirements anew: new runs of this version execute what `resolve` makes of its
    /// definition and the registry.
    ///
    /// # Errors
    /// [`codes::WORKFLOW_NOT_FOUND`], those of `resolve`, and [`codes::CONFLICT`] when it gives the plan of another
    /// workflow, or the workflow is Rust code, whose plan is its identity.
    pub fn repin(
        &self,
        version: &WorkflowVersion,
        resolve: impl FnOnce(&Value, &dyn Resolver) -> Result<Arc<Plan>, Failure>,
        now: Timestamp,
    ) -> Result<Vec<Change>, Failure> {
        self.change(|state| {
            let known = state.workflow_entry(version).ok_or_else(|| state.unknown(&version.clone().into()))?;
            let conflict = |why: &str| Failure::new(codes::CONFLICT, format!("workflow {version} {why}"));
            if known.definition.is_null() {
                return Err(conflict("is Rust code: register a new version of it instead"));
            }
            let plan = resolve(&known.definition, state)?;
            if plan.workflow != *version {
                return Err(conflict(&format!("can't be repinned to the plan of {}", plan.workflow)));
            }
            if plan == known.plan {
                return Ok(Vec::new());
            }
            let record = Arc::new(WorkflowRecord { plan, ..WorkflowRecord::clone(known) });
            state.put_workflow(record.clone());
            Ok(vec![Change { action: Action::Repin, at: now, record: Record::Workflow(record) }])
        })
    }

    /// Takes a version out of use: no requirement selects it any more, and calls of a skill fail with
    /// [`codes::SKILL_DISABLED`], also those of runs whose plans pin it.
    ///
    /// # Errors
    /// [`codes::SKILL_NOT_FOUND`] or [`codes::WORKFLOW_NOT_FOUND`].
    pub fn disable(&self, subject: &Subject, reason: &str, now: Timestamp) -> Result<Vec<Change>, Failure> {
        self.change(|state| self.set_status(state, subject, Status::Disabled(reason.into()), Action::Disable, now))
    }

    /// Puts a version back into use.
    ///
    /// # Errors
    /// As [`Registry::disable`].
    pub fn enable(&self, subject: &Subject, now: Timestamp) -> Result<Vec<Change>, Failure> {
        self.change(|state| self.set_status(state, subject, Status::Enabled, Action::Enable, now))
    }

    /// Every record: skills, then workflows, each by name and version.
    pub fn list(&self) -> Vec<Record> {
        self.state().records().collect()
    }

    /// The record of one version.
    pub fn get(&self, subject: &Subject) -> Option<Record> {
        self.state().record(subject)
    }

    /// The record of the skill version that a requirement selects.
    ///
    /// # Errors
    /// As [`Resolver::skill`].
    pub fn describe_skill(&self, requirement: &str) -> Result<Arc<SkillRecord>, Failure> {
        Ok(self.state().select_skill(requirement)?.record.clone())
    }

    /// The record of the workflow version that a requirement selects.
    ///
    /// # Errors
    /// As [`Resolver::workflow`].
    pub fn describe_workflow(&self, requirement: &str) -> Result<Arc<WorkflowRecord>, Failure> {
        Ok(self.state().select_workflow(requirement)?.clone())
    }

    /// The plan of exactly this workflow version, enabled or not: what a stored run may still refer to.
    pub fn plan(&self, version: &WorkflowVersion) -> Option<Arc<Plan>> {
        self.state().workflow_entry(version).map(|record| record.plan.clone())
    }

    /// Checks the input of a run against its plan's input schema.
    ///
    /// # Errors
    /// [`codes::INVALID_INPUT`] with every mistake in `details.errors`; [`codes::INVALID_DEFINITION`] for a bad schema.
    pub fn check_run_input(&self, plan: &Plan, input: &Payload) -> Result<(), Failure> {
        PlanInput::new(&*self.0.schemas, plan)?.check(input)
    }

    /// Whether this process has the code of a skill version.
    pub fn has_code(&self, version: &SkillVersion) -> bool {
        self.state().skill_entry(version).is_some_and(|entry| entry.code.is_some())
    }

    /// How `contract` differs from that of the highest registered version below it; `None` when there is none.
    pub fn compare(&self, contract: &SkillContract) -> Option<ContractDiff> {
        compare_in(&self.state(), contract)
    }

    /// A registry with the same content that changes on its own.
    pub fn fork(&self) -> Self {
        let state = RwLock::new(self.state());
        Self(Arc::new(Shared { tenant: self.0.tenant.clone(), schemas: self.0.schemas.clone(), state }))
    }

    pub(super) fn state(&self) -> Arc<State> {
        // A change replaces the content whole, so a panic elsewhere can't have left it half-changed.
        self.0.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Runs `change` on a copy of the content, which replaces the content if all goes well.
    pub(super) fn change<T: AsRef<[Change]>>(
        &self,
        change: impl FnOnce(&mut State) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.replace(|state| {
            let result = change(state)?;
            let changes = result.as_ref().iter().map(|change| (change.record.subject(), change.clone()));
            state.pending.extend(changes);
            Ok(result)
        })
    }

    /// As `change`, for what comes from a store.
    pub(super) fn replace<T>(&self, change: impl FnOnce(&mut State) -> Result<T, Failure>) -> Result<T, Failure> {
        let mut current = self.0.state.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = State::clone(&current);
        let result = change(&mut next)?;
        *current = Arc::new(next);
        Ok(result)
    }

    pub(super) fn compile(&self, contract: &SkillContract) -> Result<ContractSchemas, Failure> {
        ContractSchemas::new(&*self.0.schemas, contract)
    }

    /// Makes sure that a plan's input schema can be used.
    pub(super) fn compile_input(&self, plan: &Plan) -> Result<(), Failure> {
        PlanInput::new(&*self.0.schemas, plan).map(drop)
    }

    fn register_in(&self, state: &mut State, contract: SkillContract, now: Timestamp) -> Result<Registered, Failure> {
        let hash = contract.hash()?;
        let diff = compare_in(state, &contract);
        if let Some(entry) = state.skill_entry(&contract.version) {
            let known = &entry.record.contract;
            if known.hash()? == hash {
                return Ok(Registered { changes: Vec::new(), diff });
            }
            return Err(diff::conflict(known, &contract));
        }
        let schemas = self.compile(&contract)?;
        let tenant = self.0.tenant.clone();
        let record = Arc::new(SkillRecord { tenant, contract, status: Status::Enabled, registered_at: now });
        state.put_skill(record.clone(), schemas);
        Ok(Registered {
            changes: vec![Change { action: Action::Register, at: now, record: Record::Skill(record) }],
            diff,
        })
    }

    fn register_plan_in(
        &self,
        state: &mut State,
        definition: Value,
        plan: Arc<Plan>,
        now: Timestamp,
    ) -> Result<Vec<Change>, Failure> {
        let tenant = self.0.tenant.clone();
        let record = WorkflowRecord { tenant, definition, plan, status: Status::Enabled, registered_at: now };
        let identity = record.identity()?;
        if let Some(known) = state.workflow_entry(record.version()) {
            if known.identity()? == identity {
                return Ok(Vec::new());
            }
            return Err(diff::workflow_conflict(known, &record));
        }
        self.compile_input(&record.plan)?;
        let record = Arc::new(record);
        state.put_workflow(record.clone());
        Ok(vec![Change { action: Action::Register, at: now, record: Record::Workflow(record) }])
    }

    pub(super) fn set_status(
        &self,
        state: &mut State,
        subject: &Subject,
        status: Status,
        action: Action,
        now: Timestamp,
    ) -> Result<Vec<Change>, Failure> {
        let record = match subject {
            Subject::Skill(version) => {
                let entry = state.skill_entry(version).ok_or_else(|| state.unknown(subject))?;
                if entry.record.status == status {
                    return Ok(Vec::new());
                }
                let record = Arc::new(SkillRecord { status, ..SkillRecord::clone(&entry.record) });
                let schemas = entry.schemas.clone();
                state.put_skill(record.clone(), schemas);
                Record::Skill(record)
            }
            Subject::Workflow(version) => {
                let known = state.workflow_entry(version).ok_or_else(|| state.unknown(subject))?;
                if known.status == status {
                    return Ok(Vec::new());
                }
                let record = Arc::new(WorkflowRecord { status, ..WorkflowRecord::clone(known) });
                state.put_workflow(record.clone());
                Record::Workflow(record)
            }
        };
        Ok(vec![Change { action, at: now, record }])
    }
}

fn compare_in(state: &State, contract: &SkillContract) -> Option<ContractDiff> {
    let (_, entry) = state.skills.get(&contract.version.id)?.range(..&contract.version.version).next_back()?;
    Some(diff::compare(&entry.record.contract, contract))
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("Registry")
            .field("tenant", &self.0.tenant)
            .field("revision", &state.revision)
            .field("skills", &state.skill_entries().count())
            .field("workflows", &state.workflow_entries().count())
            .finish()
    }
}

impl Resolver for Registry {
    fn skill(&self, requirement: &str) -> Result<SkillContract, Failure> {
        self.state().skill(requirement)
    }

    fn workflow(&self, requirement: &str) -> Result<Arc<Plan>, Failure> {
        self.state().workflow(requirement)
    }
}

/// Gives the skill as a host executes it: inputs and outputs checked, and a disabled one failing every call with
/// [`codes::SKILL_DISABLED`].
impl SkillSource for Registry {
    fn skill(&self, version: &SkillVersion) -> Option<Arc<dyn Skill>> {
        let state = self.state();
        let SkillEntry { record, code, .. } = state.skill_entry(version)?;
        match &record.status {
            Status::Disabled(_) => Some(Arc::new(Disabled(record.clone()))),
            Status::Enabled => code.clone(),
        }
    }
}

/// Stands in for a disabled skill, so that a run which pins it learns the reason.
struct Disabled(Arc<SkillRecord>);

impl Skill for Disabled {
    fn contract(&self) -> &SkillContract {
        &self.0.contract
    }

    fn call(&self, _call: SkillCall) -> BoxFuture<'_, SkillResult> {
        let reason = self.0.status.reason().unwrap_or_default();
        let message = format!("skill {} is disabled: {reason}", self.0.contract.version);
        Box::pin(std::future::ready(Err(Failure::new(codes::SKILL_DISABLED, message))))
    }
}
