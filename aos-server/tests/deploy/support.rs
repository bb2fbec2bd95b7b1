//! Reading the files, and asking the program what it makes of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use aos_core::id::WorkerId;
use aos_server::config::{Config, Sources, table};
use aos_server::server::{LAST_REQUESTS, Role};
use aos_server::worker::WorkerSettings;
use serde_json::Value;

pub type Environment = BTreeMap<String, String>;

/// A path below the repository's root.
pub fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

pub fn read(path: &str) -> String {
    std::fs::read_to_string(root(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A YAML file as JSON, with its merge keys (`<<`) carried out.
pub fn yaml(path: &str) -> Value {
    // Compose takes a value away by this tag, which is none of YAML's own.
    let text = read(path).replace("!reset ", "");
    let value = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
    merged(value)
}

fn merged(value: Value) -> Value {
    match value {
        Value::Object(mut map) => {
            let base = map.remove("<<").map(merged);
            let own = map.into_iter().map(|(key, value)| (key, merged(value)));
            let mut whole = base.map_or_else(Default::default, |base| base.as_object().unwrap().clone());
            whole.extend(own);
            Value::Object(whole)
        }
        Value::Array(items) => items.into_iter().map(merged).collect(),
        value => value,
    }
}

/// A schema of `data/`.
pub fn schema(name: &str) -> Value {
    serde_json::from_str(&read(&format!("aos-server/tests/deploy/data/{name}"))).unwrap()
}

/// What is wrong with a value by a schema: the place and the fault.
pub fn faults(schema: &Value, value: &Value) -> Vec<String> {
    let validator = jsonschema::validator_for(schema).unwrap();
    validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

/// The settings of a process in this environment, which has to be one that it starts in, without a warning.
pub fn config(role: Role, environment: &Environment) -> Config {
    for key in environment.keys() {
        assert!(table::find(key).is_some(), "{key} is no setting");
    }
    let mut sources = Sources::default();
    sources.environment.clone_from(environment);
    // As the command does it.
    let sources = if role == Role::Worker { sources.flag(&table::ALLOW_INSECURE, Some(true)) } else { sources };
    let config = Config::load(&sources).unwrap_or_else(|error| panic!("{environment:?}: {error}"));
    assert_eq!(config.warnings, Vec::<String>::new());
    config
}

/// The longest that a process may take to end once it was asked to.
pub fn longest_end(config: &Config, drain_delay: Duration) -> Duration {
    let worker = WorkerSettings::new(WorkerId::new("w").unwrap(), config.worker.concurrency);
    config.listen.drain_delay.unwrap_or(drain_delay) + worker.grace + LAST_REQUESTS
}

/// The role of a process that is started with these arguments, which have to be ones that the command line knows.
pub fn role(args: &[&str]) -> Option<Role> {
    let done = Command::new(env!("CARGO_BIN_EXE_aos-server")).args(args).arg("--help").output().unwrap();
    assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
    match args.first() {
        None | Some(&"serve") => Some(Role::Serve),
        Some(&"worker") => Some(Role::Worker),
        Some(_) => None,
    }
}

/// Whole seconds of a text such as `45s`.
pub fn seconds(text: &str) -> Duration {
    Duration::from_secs(text.strip_suffix('s').unwrap().parse().unwrap())
}

pub fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

pub fn strings(value: &Value) -> Vec<&str> {
    value.as_array().map(|items| items.iter().map(|item| item.as_str().unwrap()).collect()).unwrap_or_default()
}
