//! Raw values: environment, file and flags merged into one value per key.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::problem::{Origin, Problem};
use crate::config::table::{self, Setting};

/// A file larger than this is not a configuration.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Keys with our prefix that are not settings of the server but of its tests.
const TEST_KEYS: &[&str] = &["AOS_BLESS"];

/// Where values come from; the caller reads the process's environment, so that tests need not change it.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The environment, as `std::env::vars_os` gives it, lossily decoded.
    pub environment: BTreeMap<String, String>,
    /// What the command line sets; wins over everything.
    pub flags: BTreeMap<String, String>,
    pub(crate) ignored: BTreeSet<&'static str>,
    pub(crate) defaults: BTreeMap<&'static str, &'static str>,
}

impl Sources {
    /// The environment of this process. Values that are not UTF-8 keep U+FFFD where they aren't.
    pub fn from_process() -> Self {
        let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        Self {
            environment: std::env::vars_os().map(|(key, value)| (lossy(key), lossy(value))).collect(),
            ..Self::default()
        }
    }

    /// Leaves these settings at their defaults, whatever the sources say.
    #[must_use]
    pub fn without(mut self, settings: &[Setting]) -> Self {
        self.ignored.extend(settings.iter().map(|setting| setting.key));
        self
    }

    /// Gives a setting another default than its own.
    #[must_use]
    pub fn or_default(mut self, setting: &Setting, value: &'static str) -> Self {
        self.defaults.insert(setting.key, value);
        self
    }

    /// Adds a flag's value for `setting`, when there is one.
    #[must_use]
    pub fn flag(mut self, setting: &Setting, value: Option<impl ToString>) -> Self {
        if let Some(value) = value {
            self.flags.insert(setting.key.to_owned(), value.to_string());
        }
        self
    }
}

/// The winning value of every key, and what is odd about the sources.
pub(crate) struct Values {
    pub(crate) values: BTreeMap<&'static str, (String, Origin)>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) warnings: Vec<String>,
}

impl Values {
    pub(crate) fn merge(sources: &Sources) -> Self {
        let mut merged = Self { values: BTreeMap::new(), problems: Vec::new(), warnings: Vec::new() };
        let lookup = |key: &str| {
            let of = |map: &BTreeMap<String, String>| map.get(key).filter(|value| !value.trim().is_empty()).cloned();
            of(&sources.flags).map(|v| (v, Origin::Flag)).or_else(|| {
                // `KEY=` in an environment file is how people say "not set".
                of(&sources.environment).map(|v| (v, Origin::Environment))
            })
        };
        if let Some((path, origin)) = lookup(table::CONFIG.key) {
            merged.read_file(path.trim(), origin);
        }
        for setting in table::all() {
            if let Some((value, origin)) = lookup(setting.key) {
                merged.values.insert(setting.key, (value.trim().to_owned(), origin));
            }
        }
        merged.values.retain(|key, _| !sources.ignored.contains(key));
        for (key, value) in &sources.defaults {
            merged.values.entry(key).or_insert_with(|| ((*value).to_owned(), Origin::Default));
        }
        merged.judge_names(sources);
        merged
    }

    fn read_file(&mut self, path: &str, origin: Origin) {
        let fault = |fault: String| Problem {
            key: table::CONFIG.key.to_owned(),
            origin: origin.clone(),
            fault,
            example: Some(format!("{}={}", table::CONFIG.key, table::CONFIG.example)),
        };
        let text = match std::fs::metadata(path) {
            Ok(meta) if meta.len() > MAX_FILE_BYTES => {
                let found = meta.len();
                self.problems.push(fault(format!("{path} has {found} bytes: expected at most {MAX_FILE_BYTES}")));
                return;
            }
            _ => std::fs::read_to_string(path),
        };
        let parsed = text.map_err(|e| format!("{path} can't be read: {e}")).and_then(|text| {
            text.parse::<toml::Table>().map_err(|e| format!("{path} is not TOML: {}", e.to_string().trim_end()))
        });
        match parsed {
            Ok(values) => values.into_iter().for_each(|(key, value)| self.take_from_file(path, &key, &value)),
            Err(why) => self.problems.push(fault(why)),
        }
    }

    fn take_from_file(&mut self, path: &str, key: &str, value: &toml::Value) {
        let origin = Origin::File(path.to_owned());
        let Some(setting) = table::find(key).filter(|setting| **setting != table::CONFIG) else {
            let hint = table::nearest(key).map(|known| format!("; did you mean {known}?")).unwrap_or_default();
            let fault = format!("there is no such setting{hint}");
            self.problems.push(Problem { key: key.to_owned(), origin, fault, example: None });
            return;
        };
        match flatten(value) {
            Some(text) => {
                self.values.insert(setting.key, (text, origin));
            }
            None => self.problems.push(Problem {
                key: key.to_owned(),
                origin,
                fault: format!("expected {}, found {}", setting.expected, value.type_str()),
                example: Some(format!("{key} = {:?}", setting.example)),
            }),
        }
    }

    fn judge_names(&mut self, sources: &Sources) {
        for key in sources.environment.keys().filter(|key| table::find(key).is_none()) {
            let nearest = table::nearest(key);
            if key.starts_with("AOS_") && !TEST_KEYS.contains(&key.as_str()) {
                let hint = nearest.map(|known| format!("; did you mean {known}?")).unwrap_or_default();
                self.warnings.push(format!("{key} is set, and there is no such setting{hint}"));
            } else if let Some(known) = nearest.filter(|known| is_slip(key, known)) {
                // A misspelt emergency switch that silently does nothing is worse than a needless warning.
                self.warnings.push(format!("{key} is set, and there is no such setting; did you mean {known}?"));
            }
        }
        for key in sources.flags.keys().filter(|key| table::find(key).is_none()) {
            let hint = table::nearest(key).map(|known| format!("; did you mean {known}?")).unwrap_or_default();
            let fault = format!("there is no such setting{hint}");
            self.problems.push(Problem { key: key.clone(), origin: Origin::Flag, fault, example: None });
        }
    }
}

/// Whether two long keys differ by a slip of the finger; short ones (`HOST`, `PORT`) resemble too much.
fn is_slip(key: &str, known: &str) -> bool {
    known.len() >= 10 && strsim::damerau_levenshtein(key, known) <= 2
}

/// A file's value as the text an environment variable would have.
fn flatten(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.trim().to_owned()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(flag) => Some(flag.to_string()),
        toml::Value::Array(items) => {
            items.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>().map(|v| v.join(","))
        }
        _ => None,
    }
}
