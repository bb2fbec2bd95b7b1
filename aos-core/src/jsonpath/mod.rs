//! JSONPath (RFC 9535) over JSON values, with a bound on what one query may cost.
//!
//! The grammar is that of the crate `jsonpath-rust`; evaluation is our own, because a query such as `$..*..*..*` over
//! a deep value takes exponential time, and a workflow's author must not be able to stop a worker with it.

mod evaluate;
mod filter;
mod typing;

use jsonpath_rust::parser::model::JpQuery;
use jsonpath_rust::parser::parse_json_path;
use serde_json::Value;

pub(crate) use evaluate::{Node, Part};

use evaluate::Evaluation;

/// The longest query, in bytes.
const MAX_BYTES: usize = 4_096;

/// How deep brackets and parentheses of a query may nest: the parser takes exponential time in it.
const MAX_NESTING: usize = 8;

/// How many nodes one query may visit.
pub(crate) const MAX_VISITS: u64 = 20_000_000;

/// A query that was understood.
#[derive(Clone, Debug)]
pub(crate) struct JsonPath {
    text: String,
    query: JpQuery,
}

/// Why a query gave no nodes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PathError {
    /// The text is no query.
    #[error("{text:?} is not a JSONPath query: {why}")]
    Syntax { text: String, why: String },
    /// It visits too many nodes.
    #[error("the JSONPath query {0:?} visits more than {MAX_VISITS} nodes")]
    TooExpensive(String),
}

impl JsonPath {
    /// Reads a query.
    pub(crate) fn parse(text: &str) -> Result<Self, PathError> {
        let error = |why: String| PathError::Syntax { text: text.chars().take(120).collect(), why };
        if text.len() > MAX_BYTES {
            return Err(error(format!("it has {} bytes, and at most {MAX_BYTES} are read", text.len())));
        }
        if nesting(text) > MAX_NESTING {
            return Err(error(format!("its brackets nest deeper than {MAX_NESTING} levels")));
        }
        let query = parse_json_path(text).map_err(|why| {
            let why = if text.starts_with('$') { why.to_string() } else { "it must begin with \"$\"".into() };
            error(why)
        })?;
        typing::check(&query.segments).map_err(error)?;
        Ok(Self { text: text.to_owned(), query })
    }

    /// The nodes that the query selects from `root`, in the order of RFC 9535, members of objects sorted by name.
    ///
    /// `visits` is what the query may still cost and is counted down.
    pub(crate) fn select<'v>(&self, root: &'v Value, visits: &mut u64) -> Result<Vec<Node<'v>>, PathError> {
        let mut evaluation = Evaluation::new(root, *visits);
        let nodes = evaluation.query(&self.query);
        *visits = evaluation.left();
        nodes.map_err(|_| PathError::TooExpensive(self.text.chars().take(120).collect()))
    }
}

fn nesting(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(_), '\\') => drop(chars.next()),
            (Some(open), c) if open == c => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '(' | '[') => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            (None, ')' | ']') => depth = depth.saturating_sub(1),
            (None, _) => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests;
