//! Sorting, with an order over values of different types.

use std::cmp::Ordering;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::operation::{path, strict};
use crate::jsonpath::JsonPath;

/// What to sort by, and in which direction.
pub(super) struct SortKey {
    path: Option<JsonPath>,
    descending: bool,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Order {
    #[default]
    Asc,
    Desc,
}

/// Reads `{"order": "desc"}` or `{"by": [{"path": "$.price", "order": "desc"}, …]}`.
pub(super) fn read(fields: Map<String, Value>) -> Result<Vec<SortKey>, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sort {
        by: Option<Vec<By>>,
        order: Option<Order>,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct By {
        path: String,
        #[serde(default)]
        order: Order,
    }

    let key = |path, order| SortKey { path, descending: matches!(order, Order::Desc) };
    match strict(fields)? {
        Sort { by: None, order } => Ok(vec![key(None, order.unwrap_or_default())]),
        Sort { by: Some(by), order: None } if !by.is_empty() => {
            by.iter().map(|by| Ok(key(Some(path("by", &by.path)?), by.order))).collect()
        }
        Sort { by: Some(_), order: None } => Err("`by` is empty: expected at least one path".into()),
        Sort { by: Some(_), order: Some(_) } => Err("`order` goes into each entry of `by`".into()),
    }
}

/// Sorts `items`; those that are equal by all keys keep their order.
pub(super) fn sort(items: Vec<Value>, keys: &[SortKey], visits: &mut u64) -> Result<Vec<Value>, String> {
    // Items are moved only after all keys are known, because keys borrow from them.
    let mut rows: Vec<(usize, Vec<Option<&Value>>)> = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let mut row = Vec::with_capacity(keys.len());
        for key in keys {
            row.push(match &key.path {
                None => Some(item),
                Some(path) => {
                    path.select(item, visits).map_err(|error| error.to_string())?.first().map(|node| node.value)
                }
            });
        }
        rows.push((index, row));
    }
    rows.sort_by(|(_, a), (_, b)| {
        let by_key = a.iter().zip(b).zip(keys).map(|((a, b), key)| match (a, b) {
            (Some(a), Some(b)) if key.descending => compare(b, a),
            (Some(a), Some(b)) => compare(a, b),
            (a, b) => b.is_some().cmp(&a.is_some()),
        });
        by_key.fold(Ordering::Equal, Ordering::then)
    });
    let order: Vec<usize> = rows.into_iter().map(|(index, _)| index).collect();
    let mut items: Vec<Option<Value>> = items.into_iter().map(Some).collect();
    Ok(order.into_iter().filter_map(|index| items.get_mut(index)?.take()).collect())
}

/// null, false, true, numbers, texts, arrays, objects; within a type by value.
fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            // Finite, as all JSON numbers are, so always comparable.
            a.as_f64().partial_cmp(&b.as_f64()).unwrap_or(Ordering::Equal)
        }
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Array(a), Value::Array(b)) => {
            let by_item = a.iter().zip(b).map(|(a, b)| compare(a, b)).find(|order| order.is_ne());
            by_item.unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        (Value::Object(_), Value::Object(_)) => crate::canonical::write(a).cmp(&crate::canonical::write(b)),
        _ => rank(a).cmp(&rank(b)),
    }
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Bool(false) => 1,
        Value::Bool(true) => 2,
        Value::Number(_) => 3,
        Value::String(_) => 4,
        Value::Array(_) => 5,
        Value::Object(_) => 6,
    }
}
