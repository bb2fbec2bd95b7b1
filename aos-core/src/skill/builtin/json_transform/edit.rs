//! Changes a value at places that a query has found.

use serde_json::{Map, Value};

use crate::jsonpath::{Node, Part};

/// The steps from the root to a value.
pub(super) type Place = Vec<Step>;

/// One step of a [`Place`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Index(usize),
    Key(String),
}

/// The places of nodes, sorted, each once: what is inside of another comes after it.
pub(super) fn places(nodes: &[Node<'_>]) -> Vec<Place> {
    let step = |part: Part<'_>| match part {
        Part::Index(index) => Step::Index(index),
        Part::Key(key) => Step::Key(key.to_owned()),
    };
    let mut places: Vec<Place> = nodes.iter().map(|node| node.location().into_iter().map(step).collect()).collect();
    places.sort_unstable();
    places.dedup();
    places
}

/// The place as a JSON pointer, for messages.
pub(super) fn pointer(place: &[Step]) -> String {
    let part = |step: &Step| match step {
        Step::Index(index) => format!("/{index}"),
        Step::Key(key) => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
    };
    if place.is_empty() { "the whole value".into() } else { place.iter().map(part).collect() }
}

/// The value at a place.
pub(super) fn find<'v>(value: &'v mut Value, place: &[Step]) -> Option<&'v mut Value> {
    place.iter().try_fold(value, |value, step| match (step, value) {
        (Step::Index(index), Value::Array(items)) => items.get_mut(*index),
        (Step::Key(key), Value::Object(fields)) => fields.get_mut(key),
        _ => None,
    })
}

/// Keeps only what is at the places (sorted), with the arrays and objects around it; array items move up.
pub(super) fn keep(value: Value, places: &[Place]) -> Value {
    keep_below(value, places, 0)
}

fn keep_below(value: Value, places: &[Place], depth: usize) -> Value {
    // A place that ends here keeps everything below.
    if places.iter().any(|place| place.len() == depth) {
        return value;
    }
    match value {
        Value::Array(items) => {
            let mut items: Vec<Option<Value>> = items.into_iter().map(Some).collect();
            let kept = groups(places, depth).filter_map(|(step, group)| match step {
                Step::Index(index) => items.get_mut(*index)?.take().map(|item| keep_below(item, group, depth + 1)),
                Step::Key(_) => None,
            });
            Value::Array(kept.collect())
        }
        Value::Object(mut fields) => {
            let kept = groups(places, depth).filter_map(|(step, group)| match step {
                Step::Key(key) => fields.remove(key).map(|value| (key.clone(), keep_below(value, group, depth + 1))),
                Step::Index(_) => None,
            });
            Value::Object(kept.collect())
        }
        // Only an empty list of places comes to a value without parts.
        _ => Value::Null,
    }
}

/// Sorted places by their step at `depth`.
fn groups(places: &[Place], depth: usize) -> impl Iterator<Item = (&Step, &[Place])> {
    places.chunk_by(move |a, b| a[depth] == b[depth]).map(move |group| (&group[0][depth], group))
}

/// Removes what is at the places (sorted).
pub(super) fn remove(mut value: Value, places: &[Place]) -> Result<Value, String> {
    if places.iter().any(Vec::is_empty) {
        return Err("the whole value can't be removed".into());
    }
    remove_below(&mut value, places, 0);
    Ok(value)
}

fn remove_below(value: &mut Value, places: &[Place], depth: usize) {
    let mut gone = Vec::new();
    for (step, group) in groups(places, depth) {
        if group.iter().any(|place| place.len() == depth + 1) {
            gone.push(step);
        } else if let Some(inner) = find(value, std::slice::from_ref(step)) {
            remove_below(inner, group, depth + 1);
        }
    }
    match value {
        Value::Array(items) => {
            // Both are sorted, so one pass does it.
            let mut gone = gone.into_iter().peekable();
            let mut index = 0;
            items.retain(|_| {
                let found = gone.next_if(|step| **step == Step::Index(index)).is_some();
                index += 1;
                !found
            });
        }
        Value::Object(fields) => {
            for step in gone {
                if let Step::Key(key) = step {
                    fields.remove(key);
                }
            }
        }
        _ => {}
    }
}

/// Merges `with` into `fields`: objects member by member, everything else is replaced.
pub(super) fn merge(fields: &mut Map<String, Value>, with: &Map<String, Value>) {
    for (key, value) in with {
        match (fields.get_mut(key), value) {
            (Some(Value::Object(inner)), Value::Object(with)) => merge(inner, with),
            _ => drop(fields.insert(key.clone(), value.clone())),
        }
    }
}
