//! Keeping a registry and its store the same.

use super::diff;
use super::record::{Change, Record};
use super::shared::{Registered, Registry};
use super::state::State;
use super::store::{Loaded, RegistryStore};
use crate::error::{Failure, codes};
use crate::runs::StoreError;

/// How often a change is tried anew when others change the registry at the same time.
const ATTEMPTS: usize = 32;

impl AsRef<[Change]> for Registered {
    fn as_ref(&self) -> &[Change] {
        &self.changes
    }
}

/// # Kept in a store
/// A process registers its own skills, [connects](Registry::connect) the registry to its store, makes every later
/// change by [`commit`](Registry::commit), and follows other processes by [`next_refresh`](Registry::next_refresh).
impl Registry {
    /// Takes over what the store holds and saves what it doesn't: versions registered here before. Gives what was saved.
    ///
    /// ```
    /// # use aos_core::{registry::Registry, memory::MemoryRegistry, skill::SkillContract, time::Timestamp};
    /// # pollster::block_on(async {
    /// # let store = MemoryRegistry::new();
    /// let registry = Registry::new();
    /// registry.register_remote(SkillContract::pure("greet", "1.0.0")?, Timestamp::EPOCH)?;
    /// assert_eq!(registry.connect(&store).await?.len(), 1);
    /// # Ok::<(), aos_core::Failure>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`codes::CONFLICT`] when a version is registered here with another contract or definition than in the store;
    /// those of the store.
    pub async fn connect(&self, store: &dyn RegistryStore) -> Result<Vec<Change>, Failure> {
        self.refresh(store).await?;
        let (_, saved) = self.commit_all(store, |_| Ok(Vec::new())).await?;
        Ok(saved)
    }

    /// Makes a change durable before anybody sees it.
    ///
    /// `change` works on a [fork](Registry::fork) and may be called again, with the newer content, when another
    /// process changes the registry at the same time. When it fails, nothing has changed.
    ///
    /// ```
    /// # use aos_core::{registry::Registry, memory::MemoryRegistry, skill::SkillContract, time::Timestamp};
    /// # pollster::block_on(async {
    /// let (registry, store) = (Registry::new(), MemoryRegistry::new());
    /// registry.refresh(&store).await?;
    /// let contract = SkillContract::pure("greet", "1.0.0")?;
    /// let done = registry.commit(&store, |r| r.register_remote(contract.clone(), Timestamp::EPOCH)).await?;
    /// assert_eq!((done.changes.len(), registry.revision()), (1, 1));
    /// # Ok::<(), aos_core::Failure>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// Those of `change`; those of the store ([`codes::STORE_UNAVAILABLE`] leaves open whether the change was saved:
    /// the next refresh tells); [`codes::CONFLICT`] when others kept changing the registry.
    pub async fn commit<T: AsRef<[Change]>>(
        &self,
        store: &dyn RegistryStore,
        change: impl Fn(&Registry) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        Ok(self.commit_all(store, change).await?.0)
    }

    /// As `commit`; also gives everything that was saved, what was pending before included.
    async fn commit_all<T: AsRef<[Change]>>(
        &self,
        store: &dyn RegistryStore,
        change: impl Fn(&Registry) -> Result<T, Failure>,
    ) -> Result<(T, Vec<Change>), Failure> {
        for _ in 0..ATTEMPTS {
            let draft = self.fork();
            let base = draft.revision();
            let mut changes: Vec<Change> = draft.state().pending.values().cloned().collect();
            let done = change(&draft)?;
            changes.extend_from_slice(done.as_ref());
            if changes.is_empty() {
                self.adopt(&draft, base)?;
                return Ok((done, changes));
            }
            match store.save(self.tenant(), base, &changes).await {
                Ok(revision) => {
                    self.adopt(&draft, revision)?;
                    return Ok((done, changes));
                }
                Err(StoreError::Conflict(_)) => self.refresh(store).await.map(drop)?,
                Err(error) => return Err(error.into()),
            }
        }
        Err(Failure::new(codes::CONFLICT, "the registry is being changed by others all the time: try again"))
    }

    /// Takes over what the store holds, if that is newer; says whether it was. What this process has registered itself
    /// stays: code with its version, and versions that the store doesn't have until the next commit saves them.
    ///
    /// # Errors
    /// Those of the store, [`codes::STORE_CORRUPT`] for a record that can't be used, and [`codes::CONFLICT`] for a version
    /// with another contract or definition than the one registered here: the registry stays as it is.
    pub async fn refresh(&self, store: &dyn RegistryStore) -> Result<bool, Failure> {
        let loaded = store.load(self.tenant()).await?;
        if loaded.revision <= self.revision() {
            return Ok(false);
        }
        let mut next = self.built_from(loaded)?;
        self.replace(|state| {
            let newer = next.revision > state.revision;
            if newer {
                take_pending(&mut next, state)?;
                take_code(&mut next, state)?;
                *state = next;
            }
            Ok(newer)
        })
    }

    /// Waits until the store holds something newer, and takes it over.
    ///
    /// # Errors
    /// As [`Registry::refresh`].
    pub async fn next_refresh(&self, store: &dyn RegistryStore) -> Result<(), Failure> {
        loop {
            store.changed(self.tenant(), self.revision()).await?;
            if self.refresh(store).await? {
                return Ok(());
            }
        }
    }

    /// Makes the content of `draft` the content of this registry, as the store's `revision`.
    fn adopt(&self, draft: &Registry, revision: u64) -> Result<(), Failure> {
        let mut next = State::clone(&draft.state());
        next.revision = revision;
        next.pending.clear();
        self.replace(|state| {
            if state.revision > revision {
                // Somebody has refreshed to a later revision, which includes the draft's records.
                return take_code(state, &next);
            }
            take_pending(&mut next, state)?;
            take_code(&mut next, state)?;
            *state = next;
            Ok(())
        })
    }

    fn built_from(&self, loaded: Loaded) -> Result<State, Failure> {
        let corrupt = |record: &Record, why: String| {
            let subject = record.subject();
            Failure::new(codes::STORE_CORRUPT, format!("the stored record of {subject} can't be used: {why}"))
        };
        let mut state = State { revision: loaded.revision, ..State::default() };
        for record in loaded.records {
            if record.tenant() != self.tenant() {
                return Err(corrupt(&record, format!("it belongs to tenant {}", record.tenant())));
            }
            match &record {
                Record::Skill(skill) => {
                    let schemas = self.compile(&skill.contract).map_err(|why| corrupt(&record, why.message))?;
                    state.put_skill(skill.clone(), schemas);
                }
                Record::Workflow(workflow) => state.put_workflow(workflow.clone()),
            }
        }
        Ok(state)
    }
}

/// Adds the versions that `from` has and no store knows yet. What `state` has wins, if it means the same.
fn take_pending(state: &mut State, from: &State) -> Result<(), Failure> {
    for (subject, change) in &from.pending {
        match (&change.record, state.record(subject)) {
            (Record::Skill(ours), Some(Record::Skill(theirs))) => {
                if ours.contract.hash()? != theirs.contract.hash()? {
                    return Err(diff::conflict(&theirs.contract, &ours.contract));
                }
            }
            (Record::Workflow(ours), Some(Record::Workflow(theirs))) => {
                if ours.identity()? != theirs.identity()? {
                    return Err(diff::workflow_conflict(&theirs, ours));
                }
            }
            (Record::Skill(ours), _) => {
                if let Some(entry) = from.skill_entry(&ours.contract.version) {
                    state.put_skill(ours.clone(), entry.schemas.clone());
                    state.pending.insert(subject.clone(), change.clone());
                }
            }
            (Record::Workflow(ours), _) => {
                state.put_workflow(ours.clone());
                state.pending.insert(subject.clone(), change.clone());
            }
        }
    }
    Ok(())
}

/// Gives versions without code the code that `from` has, or had, for the same contract.
fn take_code(state: &mut State, from: &State) -> Result<(), Failure> {
    for (version, code) in &from.code {
        state.code.entry(version.clone()).or_insert_with(|| code.clone());
    }
    for (version, code) in state.code.clone() {
        if let Some(entry) = state.skill_entry(&version)
            && entry.code.is_none()
            && entry.record.contract.hash()? == code.contract().hash()?
        {
            state.put_checked(&version, code);
        }
    }
    Ok(())
}
