//! Selects nodes: segments and selectors.

use std::collections::BTreeMap;
use std::rc::Rc;

use jsonpath_rust::parser::model::{JpQuery, Segment, Selector};
use regex::Regex;
use serde_json::{Map, Value};

/// A value within a document, and where it is.
#[derive(Clone)]
pub(crate) struct Node<'v> {
    /// The value.
    pub(crate) value: &'v Value,
    way: Option<Rc<Step<'v>>>,
}

struct Step<'v> {
    before: Option<Rc<Step<'v>>>,
    part: Part<'v>,
}

/// One step from a value to its child.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part<'v> {
    /// To an item of an array.
    Index(usize),
    /// To a member of an object.
    Key(&'v str),
}

impl<'v> Node<'v> {
    fn root(value: &'v Value) -> Self {
        Self { value, way: None }
    }

    fn child(&self, value: &'v Value, part: Part<'v>) -> Self {
        Self { value, way: Some(Rc::new(Step { before: self.way.clone(), part })) }
    }

    /// The steps from the root to this node.
    pub(crate) fn location(&self) -> Vec<Part<'v>> {
        let mut parts = Vec::new();
        let mut step = self.way.as_ref();
        while let Some(Step { before, part }) = step.map(Rc::as_ref) {
            parts.push(part.clone());
            step = before.as_ref();
        }
        parts.reverse();
        parts
    }
}

/// The query may visit no more nodes.
pub(super) struct Spent;

/// A query in progress.
pub(super) struct Evaluation<'v> {
    pub(super) root: &'v Value,
    visits: u64,
    /// Compiled patterns of `match` and `search`; `None` for texts that are none.
    pub(super) patterns: BTreeMap<(String, bool), Option<Regex>>,
}

impl<'v> Evaluation<'v> {
    pub(super) fn new(root: &'v Value, visits: u64) -> Self {
        Self { root, visits, patterns: BTreeMap::new() }
    }

    pub(super) fn left(&self) -> u64 {
        self.visits
    }

    pub(super) fn spend(&mut self, visits: usize) -> Result<(), Spent> {
        let visits = u64::try_from(visits).unwrap_or(u64::MAX);
        match self.visits.checked_sub(visits) {
            Some(left) => self.visits = left,
            None => {
                self.visits = 0;
                return Err(Spent);
            }
        }
        Ok(())
    }

    pub(super) fn query(&mut self, query: &JpQuery) -> Result<Vec<Node<'v>>, Spent> {
        self.segments(&query.segments, Node::root(self.root))
    }

    /// The nodes that `segments` select from `start`.
    pub(super) fn segments(&mut self, segments: &[Segment], start: Node<'v>) -> Result<Vec<Node<'v>>, Spent> {
        let mut nodes = vec![start];
        for segment in segments {
            let mut next = Vec::new();
            for node in &nodes {
                self.segment(segment, node, &mut next)?;
            }
            nodes = next;
        }
        Ok(nodes)
    }

    fn segment(&mut self, segment: &Segment, node: &Node<'v>, out: &mut Vec<Node<'v>>) -> Result<(), Spent> {
        self.spend(1)?;
        match segment {
            Segment::Selector(selector) => self.selector(selector, node, out),
            Segment::Selectors(selectors) => {
                selectors.iter().try_for_each(|selector| self.selector(selector, node, out))
            }
            // A node before its children, and these in order: so do the results come. Values nest to a bounded depth.
            Segment::Descendant(inner) => {
                self.segment(inner, node, out)?;
                children(node).iter().try_for_each(|child| self.segment(segment, child, out))
            }
        }
    }

    fn selector(&mut self, selector: &Selector, node: &Node<'v>, out: &mut Vec<Node<'v>>) -> Result<(), Spent> {
        let value = node.value;
        match (selector, value) {
            (Selector::Name(name), Value::Object(fields)) => {
                if let Some((key, value)) = fields.get_key_value(name) {
                    out.push(node.child(value, Part::Key(key)));
                }
            }
            (Selector::Index(index), Value::Array(items)) => {
                if let Some(index) = position(*index, items.len()) {
                    out.push(node.child(&items[index], Part::Index(index)));
                }
            }
            (Selector::Slice(start, end, step), Value::Array(items)) => {
                for index in slice(*start, *end, step.unwrap_or(1), items.len()) {
                    self.spend(1)?;
                    out.push(node.child(&items[index], Part::Index(index)));
                }
            }
            (Selector::Wildcard, _) => {
                let children = children(node);
                self.spend(children.len())?;
                out.extend(children);
            }
            (Selector::Filter(filter), _) => {
                for child in children(node) {
                    self.spend(1)?;
                    if self.holds(filter, &child)? {
                        out.push(child);
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// The children of a node: items in order, members sorted by name.
fn children<'v>(node: &Node<'v>) -> Vec<Node<'v>> {
    match node.value {
        Value::Array(items) => {
            items.iter().enumerate().map(|(index, item)| node.child(item, Part::Index(index))).collect()
        }
        Value::Object(fields) => {
            sorted(fields).into_iter().map(|(key, value)| node.child(value, Part::Key(key))).collect()
        }
        _ => Vec::new(),
    }
}

/// The members of an object by name: the result must not depend on how a map is kept.
fn sorted(fields: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut members: Vec<_> = fields.iter().collect();
    members.sort_unstable_by_key(|(key, _)| *key);
    members
}

/// The position that an index, from the end when negative, means in an array.
pub(super) fn position(index: i64, length: usize) -> Option<usize> {
    let length = i64::try_from(length).ok()?;
    let index = if index < 0 { index.checked_add(length)? } else { index };
    usize::try_from(index).ok().filter(|_| index < length)
}

/// The positions of a slice (RFC 9535, section 2.3.4.2).
fn slice(start: Option<i64>, end: Option<i64>, step: i64, length: usize) -> Vec<usize> {
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    let normal = |index: i64| if index < 0 { index.saturating_add(length) } else { index };
    let mut positions = Vec::new();
    if step > 0 {
        let (mut at, end) =
            (normal(start.unwrap_or(0)).clamp(0, length), normal(end.unwrap_or(length)).clamp(0, length));
        while at < end {
            positions.extend(usize::try_from(at));
            at = at.saturating_add(step);
        }
    } else if step < 0 {
        let mut at = start.map_or(length - 1, normal).clamp(-1, length - 1);
        let end = end.map_or(-1, |end| normal(end).clamp(-1, length - 1));
        while at > end {
            positions.extend(usize::try_from(at));
            at = at.saturating_add(step);
        }
    }
    positions
}
