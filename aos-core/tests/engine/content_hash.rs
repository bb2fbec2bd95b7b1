//! The content hash as docs/src/journal.md defines it, computed from a journal's lines with a JSON parser and SHA-256
//! alone: what an implementation in another language would do.

use std::collections::{BTreeMap, HashMap, VecDeque};

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

/// The fields of all types of entries that count. `RawValue` is the text as it stands in the line.
/// A `null` is read as `None`, like a field that is not there.
#[derive(Deserialize)]
struct Entry<'a> {
    r#type: String,
    effect: Option<String>,
    kind: Option<String>,
    skill: Option<String>,
    workflow: Option<String>,
    name: Option<String>,
    duration_ms: Option<u64>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    input_blob: Option<BlobRef>,
    #[serde(borrow)]
    output: Option<&'a RawValue>,
    output_blob: Option<BlobRef>,
    failure: Option<Failure>,
    cost: Option<String>,
    child: Option<String>,
    plan: Option<String>,
    seed: Option<u64>,
    status: Option<String>,
}

#[derive(Deserialize)]
struct BlobRef {
    sha256: String,
}

#[derive(Deserialize)]
struct Failure {
    code: String,
    cost: Option<String>,
}

struct Effect {
    attempts: Vec<String>,
    picodollars: u64,
    input: String,
    kind: String,
    output: Option<String>,
    target: Option<String>,
    ended: bool,
}

pub fn sha256(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The text whose SHA-256 is the content hash of the finished journal `lines`. `plan` says which fields of outputs are
/// volatile; `blobs` are canonical texts by hash.
pub fn content_text(lines: &[String], plan: &Value, blobs: &HashMap<String, String>) -> String {
    let mut effects: BTreeMap<String, Effect> = BTreeMap::new();
    let mut waiting: HashMap<String, VecDeque<String>> = HashMap::new();
    let mut unread: HashMap<String, VecDeque<String>> = HashMap::new();
    let (mut plan_hash, mut seed, mut input) = (String::new(), 0, String::new());
    for line in lines {
        let entry: Entry = serde_json::from_str(line).unwrap();
        match entry.r#type.as_str() {
            "run_started" => {
                input = payload_hash(entry.input, entry.input_blob.as_ref());
                (plan_hash, seed) = (entry.plan.unwrap(), entry.seed.unwrap());
            }
            "effect_requested" => {
                let (id, kind) = (entry.effect.unwrap(), entry.kind.unwrap());
                let input = match kind.as_str() {
                    "call" | "child" => payload_hash(entry.input, entry.input_blob.as_ref()),
                    "sleep" => sha256(&entry.duration_ms.unwrap().to_string()),
                    _ => sha256("null"),
                };
                let mut effect = Effect {
                    attempts: vec![],
                    picodollars: 0,
                    input,
                    target: entry.skill.or(entry.workflow).or(entry.name.clone()),
                    kind,
                    output: None,
                    ended: false,
                };
                if effect.kind == "patched" {
                    effect.ends_well(sha256("null"));
                } else if effect.kind == "signal" {
                    let name = entry.name.unwrap();
                    match unread.entry(name.clone()).or_default().pop_front() {
                        Some(carried) => effect.ends_well(carried),
                        None => waiting.entry(name).or_default().push_back(id.clone()),
                    }
                }
                effects.insert(id, effect);
            }
            "effect_completed" => {
                let effect = effects.get_mut(&entry.effect.unwrap()).unwrap();
                effect.picodollars += picodollars(entry.cost.as_deref());
                let mut hash = match volatile(plan, effect.target.as_deref()) {
                    [] => payload_hash(entry.output, entry.output_blob.as_ref()),
                    pointers => {
                        let blob = entry.output_blob.map(|blob| blobs[&blob.sha256].clone());
                        let text = blob.unwrap_or_else(|| entry.output.map_or("null", RawValue::get).to_owned());
                        sha256(&without(&text, pointers))
                    }
                };
                if let Some(child) = entry.child {
                    hash = sha256(&format!("{child}{hash}"));
                }
                effect.ends_well(hash);
            }
            "attempt_failed" => {
                let effect = effects.get_mut(&entry.effect.unwrap()).unwrap();
                effect.fails(&entry.failure.unwrap());
            }
            "effect_failed" => {
                let id = entry.effect.unwrap();
                waiting.values_mut().for_each(|queue| queue.retain(|waiting| *waiting != id));
                let effect = effects.entry(id).or_insert_with(|| Effect {
                    attempts: vec![],
                    picodollars: 0,
                    input: sha256("null"),
                    kind: "refused".into(),
                    output: None,
                    target: None,
                    ended: false,
                });
                let mut failure = entry.failure.unwrap();
                if effect.kind == "refused" {
                    failure.cost = None;
                }
                effect.fails(&failure);
                effect.ended = true;
            }
            "signal_received" => {
                let (name, carried) = (entry.name.unwrap(), payload_hash(entry.input, entry.input_blob.as_ref()));
                match waiting.get_mut(&name).and_then(VecDeque::pop_front) {
                    Some(id) => effects.get_mut(&id).unwrap().ends_well(carried),
                    None => unread.entry(name).or_default().push_back(carried),
                }
            }
            "cancel_requested" => {}
            "run_finished" => {
                for effect in effects.values_mut().filter(|effect| !effect.ended) {
                    effect.attempts.push("ERR_CANCELLED".into());
                }
                let output = match entry.failure {
                    Some(failure) => sha256(&format!("\"{}\"", failure.code)),
                    None => payload_hash(entry.output, entry.output_blob.as_ref()),
                };
                let effects: Vec<_> = effects.iter().map(|(id, effect)| effect.text(id)).collect();
                return format!(
                    r#"{{"effects":[{}],"input":"{input}","output":"{output}","plan":"{plan_hash}","seed":{seed},"status":"{}","v":1}}"#,
                    effects.join(","),
                    entry.status.unwrap(),
                );
            }
            other => panic!("an entry of type {other}"),
        }
    }
    panic!("the journal is not finished");
}

impl Effect {
    fn ends_well(&mut self, output: String) {
        self.attempts.push("ok".into());
        self.output = Some(output);
        self.ended = true;
    }

    fn fails(&mut self, failure: &Failure) {
        self.attempts.push(failure.code.clone());
        self.picodollars += picodollars(failure.cost.as_deref());
    }

    fn text(&self, id: &str) -> String {
        let json = |value: &dyn Fn() -> Value| value().to_string();
        format!(
            r#"{{"attempts":{},"cost":"{}","effect":{},"input":"{}","kind":"{}","output":{},"target":{}}}"#,
            json(&|| self.attempts.clone().into()),
            dollars(self.picodollars),
            json(&|| id.into()),
            self.input,
            self.kind,
            json(&|| self.output.clone().into()),
            json(&|| self.target.clone().into()),
        )
    }
}

fn payload_hash(text: Option<&RawValue>, blob: Option<&BlobRef>) -> String {
    blob.map_or_else(|| sha256(text.map_or("null", RawValue::get)), |blob| blob.sha256.clone())
}

/// The JSON pointers that the plan lists for the skill.
fn volatile<'p>(plan: &'p Value, target: Option<&str>) -> &'p [Value] {
    let pointers = target.and_then(|skill| plan["skills"][skill]["volatile"].as_array());
    pointers.map_or(&[], Vec::as_slice)
}

/// The canonical text without the members that the pointers name.
fn without(text: &str, pointers: &[Value]) -> String {
    let mut value: Value = serde_json::from_str(text).unwrap();
    for pointer in pointers {
        let (parent, key) = pointer.as_str().unwrap().rsplit_once('/').unwrap();
        if let Some(Value::Object(members)) = value.pointer_mut(parent) {
            members.remove(&key.replace("~1", "/").replace("~0", "~"));
        }
    }
    // For the texts and integers of these tests, whose members are sorted, this is canonical.
    value.to_string()
}

fn picodollars(text: Option<&str>) -> u64 {
    let (whole, fraction) = text.map_or(("0", ""), |text| text.split_once('.').unwrap_or((text, "")));
    whole.parse::<u64>().unwrap() * 1_000_000_000_000 + format!("{fraction:0<12}").parse::<u64>().unwrap()
}

fn dollars(picodollars: u64) -> String {
    let text = format!("{}.{:012}", picodollars / 1_000_000_000_000, picodollars % 1_000_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
