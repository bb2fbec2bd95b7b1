//! Scenarios: a workflow, what happens around it, and what is to come of it, as a YAML file.
//!
//! ```yaml
//! story: The carrier is busy at first, and the order ships all the same.
//! flow: order_saga@1.0.0            # a Rust workflow of the stage; or `workflow: file.yaml`, a definition
//! input: {id: "100247", items: []}
//! seed: 7
//! budget: "0.50"
//! pages:                            # what http_call serves; `file` or `body`
//!   - {url: "https://shop.example/", file: documents/shop.html, content_type: text/html}
//! scripts:                          # skills that answer as written down
//!   - skill: weather@1.0.0
//!     turns: [{fail: {code: ERR_TIMEOUT, message: late}}, {give: {celsius: 21}, after_ms: 500}]
//! model:                            # what the model behind llm_invoke answers; the stub does without
//!   - {say: [{type: tool_use, id: u1, name: search, input: {query: stoves}}], stop: tool_use, cost_cents: 1}
//! force_stub_adapter: false         # true: the stub answers all the same
//! tools: [http_call]                # for a Rust workflow: what its agents may offer to the model
//! signals: [{after_ms: 5000, name: approval, payload: {approved: true}}]
//! cancels: [{after_ms: 9000, reason: changed my mind}]
//! crashes: [{before: 3}, {after: 5}]  # a worker dies before (after) its third (fifth) append is durable
//! expect: {status: succeeded, output: {…}, code: …, hash: …}
//! ```
//!
//! Paths are relative to the scenario's file. [`check`] runs every scenario below a directory.

mod file;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aos_core::diff::{diff, display};
use aos_core::flow::Flows;
use aos_core::id::TenantId;
use aos_core::llm::{Adapters, LlmAdapter, StubAdapter};
use aos_core::memory::VirtualClock;
use aos_core::money::Money;
use aos_core::payload::Payload;
use aos_core::registry::Registry;
use aos_core::skill::schema::JsonSchemas;
use aos_core::skill::{SkillContract, builtin};
use aos_core::time::Clock;
use aos_core::workflow::{Definition, Plan, PlanBuilder, Resolver};
use aos_core::{Code, Failure, codes};
use serde_json::{Value, json};

pub use file::{
    CancelAt, CrashAt, Expectation, ModelTurn, PageFile, Scenario, Script, ScriptFailure, ScriptTurn, SignalAt,
};

use crate::harness::{Harness, Kill, Ran, START};
use crate::script::{ScriptError, ScriptedAdapter, ScriptedSkill, Turn};
use crate::skills::{Ledger, Page, Skills, TestSkills, Web};

type MoreSkills = Arc<dyn Fn(Arc<dyn Clock>) -> Result<Skills, Failure> + Send + Sync>;

/// What scenarios are played on: the workflows and skills that their files name.
#[derive(Clone, Default)]
pub struct Stage {
    flows: Flows,
    skills: Option<MoreSkills>,
}

impl Stage {
    /// The [test skills](TestSkills), the core's own skills with the stub as the only model, and no Rust workflows.
    pub fn new() -> Self {
        Self::default()
    }

    /// The Rust workflows.
    #[must_use]
    pub fn flows(mut self, flows: Flows) -> Self {
        self.flows = flows;
        self
    }

    /// More skills, made anew for each run over its clock; they replace test skills of the same version.
    #[must_use]
    pub fn skills(
        mut self,
        skills: impl Fn(Arc<dyn Clock>) -> Result<Skills, Failure> + Send + Sync + 'static,
    ) -> Self {
        self.skills = Some(Arc::new(skills));
        self
    }
}

/// A scenario set up on a stage: make as many [harnesses](Played::harness) of it as you like.
pub struct Played {
    /// The simulation: one worker, order 0, with the scenario's crashes.
    pub harness: Harness,
    /// What the skill `ledger` has booked.
    pub ledger: Ledger,
    scripts: Vec<ScriptedSkill>,
    /// The scripted model, when it is the one that is asked.
    model: Option<ScriptedAdapter>,
}

impl Played {
    /// Ends the test of the scenario's scripts.
    ///
    /// # Errors
    /// The first script that was not followed.
    pub fn finish(&self) -> Result<(), ScriptError> {
        self.scripts.iter().try_for_each(ScriptedSkill::finish)?;
        self.model.iter().try_for_each(ScriptedAdapter::finish)
    }
}

impl Scenario {
    /// Reads a scenario file.
    ///
    /// # Errors
    /// [`codes::INVALID_YAML`] with line and column, or [`codes::NOT_FOUND`].
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let text = read(path)?;
        let mut scenario: Self = serde_saphyr::from_str(&text)
            .map_err(|e| Failure::new(codes::INVALID_YAML, format!("{}: {e}", path.display())))?;
        // Once more without types, in which an integer may become a float unseen.
        aos_core::workflow::yaml_value(&text)?;
        scenario.directory = path.parent().unwrap_or(Path::new(".")).to_owned();
        Ok(scenario)
    }

    /// Sets the scenario up, crashes included.
    ///
    /// # Errors
    /// A file that is not there, a workflow that the stage doesn't have, a malformed part.
    pub fn play(&self, stage: &Stage) -> Result<Played, Failure> {
        let clock = VirtualClock::new(START);
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let kit = TestSkills::new(Arc::clone(&shared), self.web()?)?;
        let model = (!self.model.is_empty()).then(|| self.scripted_model(&shared));
        let mut adapters = Adapters::new(Arc::default()).with(Arc::new(StubAdapter));
        if let Some(model) = &model {
            adapters = adapters.default_adapter(model.name()).with(Arc::new(model.clone()));
        }
        adapters.switches().set_force_stub_adapter(self.force_stub_adapter);
        let model = model.filter(|_| !self.force_stub_adapter);
        let builtin = builtin::all(Arc::new(adapters)).into_iter();
        let mut skills = builtin.fold(kit.skills.clone(), Skills::with_shared);
        if let Some(more) = &stage.skills {
            skills = more(Arc::clone(&shared))?.iter().cloned().fold(skills, Skills::with_shared);
        }
        let scripts = self.scripts.iter().map(|script| script.skill(&shared)).collect::<Result<Vec<_>, _>>()?;
        skills = scripts.iter().cloned().fold(skills, Skills::with);
        // As on a server: what a skill takes and gives is held against its schemas.
        let registry = Registry::build(TenantId::default(), Arc::new(JsonSchemas::new()));
        for skill in skills.iter() {
            registry.register(Arc::clone(skill), START)?;
        }
        // For tools of agents only: Rust workflows pin all other skills there are, and their plans must stay what they are.
        registry.register(Arc::new(kit.web.search_skill()?), START)?;
        let plan = self.plan(&registry, &skills)?;
        let mut harness = Harness::new(plan, Arc::new(registry))
            .flows(stage.flows.clone())
            .clock(clock)
            .input(self.input.clone())?
            .seed(self.seed);
        if let Some(budget) = self.budget {
            harness = harness.budget(budget);
        }
        for signal in &self.signals {
            harness = harness.signal(ms(signal.after_ms), &signal.name, Payload::new(signal.payload.clone())?);
        }
        for cancel in &self.cancels {
            harness = harness.cancel(ms(cancel.after_ms), &cancel.reason);
        }
        for crash in &self.crashes {
            harness = harness.kill(match crash {
                CrashAt::Before(append) => Kill::Before(*append),
                CrashAt::After(append) => Kill::After(*append),
            });
        }
        Ok(Played { harness, ledger: kit.ledger, scripts, model })
    }

    /// Plays the scenario and holds the outcome against what it expects.
    ///
    /// # Errors
    /// What did not come as expected, as a text.
    pub fn check(&self, stage: &Stage) -> Result<Ran, String> {
        let played = self.play(stage).map_err(|failure| failure.to_string())?;
        let Played { harness, ledger, scripts, model } = played;
        let ran = harness.run().map_err(|failure| failure.to_string())?;
        self.holds(&ran)?;
        let doubles = ledger.doubles();
        if !doubles.is_empty() {
            return Err(format!("a `once` effect was carried out twice: {doubles:?}"));
        }
        scripts.iter().try_for_each(ScriptedSkill::finish).map_err(|e| e.to_string())?;
        model.iter().try_for_each(ScriptedAdapter::finish).map_err(|e| e.to_string())?;
        ran.replay().map_err(|e| format!("the run does not replay: {e}"))?;
        Ok(ran)
    }

    /// Holds an outcome against what the scenario expects.
    ///
    /// # Errors
    /// What is different, as a text.
    pub fn holds(&self, ran: &Ran) -> Result<(), String> {
        let failure = ran.record.failure.as_ref();
        let actual = json!({
            "status": ran.record.state,
            "output": ran.record.output,
            "code": failure.map(|failure| &failure.code),
            "hash": ran.record.content_hash,
        });
        let Expectation { status, output, code, hash } = &self.expect;
        let mut expected = actual.clone();
        expected["status"] = json!(status);
        for (field, value) in
            [("output", output.clone()), ("code", code.clone().map(Value::from)), ("hash", hash.map(|h| json!(h)))]
        {
            if let Some(value) = value {
                expected[field] = value;
            }
        }
        let changes = diff(&expected, &actual);
        if changes.is_empty() {
            return Ok(());
        }
        let why = failure.map(|failure| format!("\nit failed with {failure}")).unwrap_or_default();
        Err(format!("{}{why}", display(&changes)))
    }

    fn plan(&self, registry: &Registry, skills: &Skills) -> Result<Arc<Plan>, Failure> {
        match (&self.workflow, &self.flow) {
            (Some(file), None) => {
                for child in &self.children {
                    let (source, plan) = defined(&self.directory.join(child), registry)?;
                    registry.register_plan(source, plan, START)?;
                }
                Ok(defined(&self.directory.join(file), registry)?.1)
            }
            (None, Some(flow)) => {
                let tools = self.tools.iter().map(|id| Resolver::skill(registry, id)).collect::<Result<Vec<_>, _>>()?;
                let children = self.children.iter().map(|child| builder(child, skills, &tools));
                let plan = children.into_iter().try_fold(builder(flow, skills, &tools)?, |plan, child| {
                    Ok::<_, Failure>(plan.child(child?.build()))
                })?;
                Ok(plan.build())
            }
            _ => Err(invalid("a scenario has either `workflow` or `flow`")),
        }
    }

    fn scripted_model(&self, clock: &Arc<dyn Clock>) -> ScriptedAdapter {
        self.model.iter().fold(ScriptedAdapter::new("scripted", Arc::clone(clock)), |model, turn| {
            let played = match &turn.fail {
                None => Turn::blocks(turn.say.clone(), turn.stop.clone()),
                Some(fail) => Turn::failure(fail.failure()),
            };
            let played = played.after(ms(turn.after_ms)).cost(Money::from_cents(turn.cost_cents));
            match &turn.effect {
                Some(effect) => model.for_effect(effect, played),
                None => model.turn(played),
            }
        })
    }

    fn web(&self) -> Result<Web, Failure> {
        self.pages.iter().try_fold(Web::new(), |web, page| {
            let body = match (&page.file, &page.body) {
                (Some(file), None) => read(&self.directory.join(file))?,
                (None, Some(body)) => body.clone(),
                _ => return Err(invalid(&format!("the page {} has either `file` or `body`", page.url))),
            };
            Ok(web.page(&page.url, Page::new(&page.content_type, body).status(page.status)))
        })
    }
}

impl Script {
    fn skill(&self, clock: &Arc<dyn Clock>) -> Result<ScriptedSkill, Failure> {
        let (id, version) = self.skill.split_once('@').unwrap_or((&self.skill, "1.0.0"));
        let contract = SkillContract::idempotent(id, version)?;
        self.turns.iter().try_fold(ScriptedSkill::new(contract, Arc::clone(clock)), |skill, turn| {
            let played = match (&turn.give, &turn.fail) {
                (value, None) => Turn::json(value.clone().unwrap_or_default())?,
                (None, Some(fail)) => Turn::failure(fail.failure()),
                (Some(_), Some(_)) => return Err(invalid("a turn has either `give` or `fail`")),
            };
            let played = played.after(ms(turn.after_ms)).cost(Money::from_cents(turn.cost_cents));
            Ok(match &turn.effect {
                Some(effect) => skill.for_effect(effect, played),
                None => skill.turn(played),
            })
        })
    }
}

impl ScriptFailure {
    fn failure(&self) -> Failure {
        Failure::new(Code::custom(self.code.as_str()), self.message.as_str()).retryable(self.retryable)
    }
}

/// The scenarios that did not come as expected, each with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScenarioError(pub BTreeMap<PathBuf, String>);

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} scenarios did not come as expected", self.0.len())?;
        self.0.iter().try_for_each(|(file, why)| write!(f, "\n\n{}\n{why}", file.display()))
    }
}

impl std::error::Error for ScenarioError {}

/// Plays every scenario (`*.yaml`) in a directory; gives how many there are.
///
/// # Errors
/// [`ScenarioError`] listing every scenario that did not come as expected; a directory without any is one.
pub fn check(directory: &Path, stage: &Stage) -> Result<usize, ScenarioError> {
    let files = files(directory);
    let mut failed = BTreeMap::new();
    if files.is_empty() {
        failed.insert(directory.to_owned(), "there is no scenario here".to_owned());
    }
    for file in &files {
        let checked = Scenario::read(file).map_err(|failure| failure.to_string());
        if let Err(why) = checked.and_then(|scenario| scenario.check(stage)) {
            failed.insert(file.clone(), why);
        }
    }
    if failed.is_empty() { Ok(files.len()) } else { Err(ScenarioError(failed)) }
}

/// The scenario files in a directory, sorted.
pub fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|ext| ext == "yaml")).collect();
    files.sort();
    files
}

/// A definition file and its plan.
fn defined(file: &Path, registry: &Registry) -> Result<(Value, Arc<Plan>), Failure> {
    let about = |mut failure: Failure| {
        failure.message = format!("{}: {}", file.display(), failure.message);
        failure
    };
    let definition = Definition::from_yaml(&read(file)?).map_err(about)?;
    let plan = definition.plan(registry).map_err(about)?;
    Ok((definition.source().clone(), Arc::new(plan)))
}

/// The plan of a Rust workflow that may call every skill there is, and offer `tools` to its agents' models.
fn builder(flow: &str, skills: &Skills, tools: &[SkillContract]) -> Result<PlanBuilder, Failure> {
    let (id, version) = flow.split_once('@').unwrap_or((flow, "1.0.0"));
    let plan = skills.iter().try_fold(PlanBuilder::code(id, version)?, |plan, skill| plan.skill(skill.contract()))?;
    tools.iter().try_fold(plan, PlanBuilder::tool)
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|e| Failure::new(codes::NOT_FOUND, format!("{}: {e}", path.display())))
}

fn invalid(message: &str) -> Failure {
    Failure::new(codes::INVALID_REQUEST, message)
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}
