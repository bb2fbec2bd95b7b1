//! The well-typedness of function expressions (RFC 9535, section 2.4.3), checked when a query is read.

use jsonpath_rust::parser::model::{Comparable, Filter, FilterAtom, FnArg, Segment, Selector, Test, TestFunction};

/// What is wrong with the functions of a query.
pub(super) fn check(segments: &[Segment]) -> Result<(), String> {
    segments.iter().try_for_each(|segment| match segment {
        Segment::Descendant(inner) => check(std::slice::from_ref(inner)),
        Segment::Selector(one) => selector(one),
        Segment::Selectors(many) => many.iter().try_for_each(selector),
    })
}

fn selector(selector: &Selector) -> Result<(), String> {
    match selector {
        Selector::Filter(filter) => logical(filter),
        _ => Ok(()),
    }
}

fn logical(filter: &Filter) -> Result<(), String> {
    match filter {
        Filter::Or(filters) | Filter::And(filters) => filters.iter().try_for_each(logical),
        Filter::Atom(FilterAtom::Filter { expr, .. }) => logical(expr),
        Filter::Atom(FilterAtom::Test { expr, .. }) => match &**expr {
            Test::Function(function) => match &**function {
                TestFunction::Match(..) | TestFunction::Search(..) | TestFunction::Custom(..) => {
                    function_arguments(function)
                }
                other => Err(format!("the result of {}() must be compared with something", name(other))),
            },
            query => self::query(query),
        },
        Filter::Atom(FilterAtom::Comparison(comparison)) => {
            let (left, right) = comparison.vals();
            [left, right].into_iter().try_for_each(|side| match side {
                Comparable::Function(function) => value_function(function),
                Comparable::Literal(_) | Comparable::SingularQuery(_) => Ok(()),
            })
        }
    }
}

fn query(test: &Test) -> Result<(), String> {
    match test {
        Test::RelQuery(segments) => check(segments),
        Test::AbsQuery(query) => check(&query.segments),
        Test::Function(function) => value_function(function),
    }
}

/// A function whose result is a value.
fn value_function(function: &TestFunction) -> Result<(), String> {
    match function {
        TestFunction::Length(_) | TestFunction::Count(_) | TestFunction::Value(_) => function_arguments(function),
        other => Err(format!("{}() gives true or false and can't be compared or passed on", name(other))),
    }
}

fn function_arguments(function: &TestFunction) -> Result<(), String> {
    match function {
        TestFunction::Length(value) => value_argument(function, value),
        TestFunction::Match(text, pattern) | TestFunction::Search(text, pattern) => {
            value_argument(function, text)?;
            value_argument(function, pattern)
        }
        TestFunction::Count(nodes) | TestFunction::Value(nodes) => match nodes {
            FnArg::Test(test) if !matches!(**test, Test::Function(_)) => query(test),
            _ => Err(format!("{}() takes a query", name(function))),
        },
        TestFunction::Custom(name, _) => Err(format!("there is no function {name}()")),
    }
}

fn value_argument(function: &TestFunction, argument: &FnArg) -> Result<(), String> {
    let single = |segments: &[Segment]| {
        segments.iter().all(|segment| matches!(segment, Segment::Selector(Selector::Name(_) | Selector::Index(_))))
    };
    match argument {
        FnArg::Literal(_) => return Ok(()),
        FnArg::Test(test) => match &**test {
            Test::Function(function) => return value_function(function),
            Test::RelQuery(segments) if single(segments) => return Ok(()),
            Test::AbsQuery(query) if single(&query.segments) => return Ok(()),
            _ => {}
        },
        FnArg::Filter(_) => {}
    }
    Err(format!("{}() takes a value or a query for at most one node", name(function)))
}

fn name(function: &TestFunction) -> &str {
    match function {
        TestFunction::Custom(name, _) => name,
        TestFunction::Length(_) => "length",
        TestFunction::Value(_) => "value",
        TestFunction::Count(_) => "count",
        TestFunction::Search(..) => "search",
        TestFunction::Match(..) => "match",
    }
}
