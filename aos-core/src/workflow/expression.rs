//! Expressions and templates: Jinja, strict about undefined names, bounded, and never anything but a function of
//! their variables.
//!
//! A template is any JSON value whose strings may hold `{{ … }}`. A string that is one single expression gives the
//! expression's value with its JSON type; every other string is rendered as text.

use std::collections::BTreeSet;

use minijinja::Expression;
use serde_json::{Map, Value};

use crate::error::{Failure, codes};
use crate::workflow::jinja::{ENVIRONMENT, explain, json};
use crate::workflow::path::VariablePath;
use crate::workflow::scope::Scope;

/// The longest expression or text template, in bytes.
pub(super) const MAX_SOURCE_BYTES: usize = 16 * 1024;

/// The longest chain of operators in one expression: a parser's tree of it must not be deeper than a thread's stack.
const MAX_OPERATORS: usize = 500;

/// A compiled expression, with or without `{{ }}` around it.
pub(super) struct Compiled {
    source: String,
    form: Form,
}

enum Form {
    /// A chain of names and indices: looked up without Jinja, with the same meaning.
    Path(VariablePath),
    Jinja(Box<Expression<'static, 'static>>),
}

impl Compiled {
    /// Compiles an expression.
    ///
    /// # Errors
    /// What is wrong with it, for a person.
    pub(super) fn new(source: &str) -> Result<Self, String> {
        let inner = single_expression(source).unwrap_or(source).trim();
        bounded(inner)?;
        if let Some(path) = VariablePath::parse(inner) {
            return Ok(Self { source: inner.to_owned(), form: Form::Path(path) });
        }
        let expression = ENVIRONMENT.compile_expression_owned(inner.to_owned()).map_err(|e| explain(&e))?;
        Ok(Self { source: inner.to_owned(), form: Form::Jinja(Box::new(expression)) })
    }

    /// The variables it mentions, as dotted paths.
    pub(super) fn variables(&self) -> BTreeSet<String> {
        match &self.form {
            Form::Path(path) => BTreeSet::from([path.names()]),
            Form::Jinja(expression) => expression.undeclared_variables(true).into_iter().collect(),
        }
    }

    /// The expression's value.
    ///
    /// # Errors
    /// [`codes::EXPRESSION_FAILED`] with the expression and what is undefined, or otherwise wrong.
    pub(super) fn evaluate(&self, scope: &Scope) -> Result<Value, Failure> {
        match &self.form {
            Form::Path(path) => path.lookup(scope).map_err(|why| self.failure(&why)),
            Form::Jinja(expression) => {
                let value = expression.eval(scope.as_jinja()).map_err(|e| self.failure(&explain(&e)))?;
                json(&value).map_err(|why| self.failure(&why))
            }
        }
    }

    /// Whether the expression's value counts as true, as Jinja has it.
    ///
    /// # Errors
    /// As [`Compiled::evaluate`].
    pub(super) fn is_true(&self, scope: &Scope) -> Result<bool, Failure> {
        Ok(match self.evaluate(scope)? {
            Value::Null => false,
            Value::Bool(value) => value,
            Value::Number(number) => number.as_f64() != Some(0.0),
            Value::String(text) => !text.is_empty(),
            Value::Array(items) => !items.is_empty(),
            Value::Object(fields) => !fields.is_empty(),
        })
    }

    fn failure(&self, why: &str) -> Failure {
        Failure::new(codes::EXPRESSION_FAILED, format!("{{{{ {} }}}}: {why}", self.source))
    }
}

/// A compiled template.
pub(super) enum Template {
    Literal(Value),
    Expression(Compiled),
    Text(String),
    Array(Vec<Self>),
    Object(Vec<(String, Self)>),
}

/// A mistake in a template: JSON pointer within it, the string found, and what is wrong.
pub(super) struct TemplateMistake {
    pub(super) pointer: String,
    pub(super) found: String,
    pub(super) why: String,
}

impl Template {
    /// Compiles a template; reports every string that is wrong.
    pub(super) fn new(template: &Value) -> Result<Self, Vec<TemplateMistake>> {
        let (mut variables, mut mistakes) = (BTreeSet::new(), Vec::new());
        let compiled = Self::compile(template, "", &mut variables, &mut mistakes);
        if mistakes.is_empty() { Ok(compiled) } else { Err(mistakes) }
    }

    /// Compiles a template, adding the variables that it mentions and the mistakes it has.
    pub(super) fn compile(
        template: &Value,
        pointer: &str,
        variables: &mut BTreeSet<String>,
        mistakes: &mut Vec<TemplateMistake>,
    ) -> Self {
        match template {
            Value::String(text) if text.contains("{{") || text.contains("{%") || text.contains("{#") => {
                match Self::compile_text(text, variables) {
                    Ok(compiled) => compiled,
                    Err(why) => {
                        let found = text.chars().take(120).collect();
                        mistakes.push(TemplateMistake { pointer: pointer.to_owned(), found, why });
                        Self::Literal(Value::Null)
                    }
                }
            }
            Value::Array(items) => {
                let compile = |(index, item)| Self::compile(item, &format!("{pointer}/{index}"), variables, mistakes);
                Self::literal_or(template, items.iter().enumerate().map(compile).collect(), Self::Array)
            }
            Value::Object(fields) => {
                let compiled: Vec<_> = fields
                    .iter()
                    .map(|(key, item)| {
                        let place = format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
                        (key.clone(), Self::compile(item, &place, variables, mistakes))
                    })
                    .collect();
                if compiled.iter().all(|(_, item)| matches!(item, Self::Literal(_))) {
                    return Self::Literal(template.clone());
                }
                Self::Object(compiled)
            }
            literal => Self::Literal(literal.clone()),
        }
    }

    fn compile_text(text: &str, variables: &mut BTreeSet<String>) -> Result<Self, String> {
        if single_expression(text).is_some() {
            let compiled = Compiled::new(text)?;
            variables.extend(compiled.variables());
            return Ok(Self::Expression(compiled));
        }
        bounded(text)?;
        let template = ENVIRONMENT.template_from_str(text).map_err(|e| explain(&e))?;
        variables.extend(template.undeclared_variables(true));
        Ok(Self::Text(text.to_owned()))
    }

    fn literal_or(template: &Value, items: Vec<Self>, build: impl FnOnce(Vec<Self>) -> Self) -> Self {
        if items.iter().all(|item| matches!(item, Self::Literal(_))) {
            return Self::Literal(template.clone());
        }
        build(items)
    }

    /// The template's value.
    ///
    /// # Errors
    /// [`codes::EXPRESSION_FAILED`], as [`Compiled::evaluate`].
    pub(super) fn evaluate(&self, scope: &Scope) -> Result<Value, Failure> {
        Ok(match self {
            Self::Literal(value) => value.clone(),
            Self::Expression(expression) => expression.evaluate(scope)?,
            Self::Text(text) => {
                let rendered = ENVIRONMENT.render_str(text, scope.as_jinja()).map_err(|e| {
                    let shown: String = text.chars().take(120).collect();
                    Failure::new(codes::EXPRESSION_FAILED, format!("{shown}: {}", explain(&e)))
                })?;
                Value::String(rendered)
            }
            Self::Array(items) => items.iter().map(|item| item.evaluate(scope)).collect::<Result<_, _>>()?,
            Self::Object(fields) => {
                let mut object = Map::new();
                for (key, item) in fields {
                    object.insert(key.clone(), item.evaluate(scope)?);
                }
                Value::Object(object)
            }
        })
    }
}

/// The inside of a text that is one single `{{ … }}`.
fn single_expression(text: &str) -> Option<&str> {
    let inner = text.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    let inner = inner.strip_prefix(['-', '+']).unwrap_or(inner);
    let inner = inner.strip_suffix(['-', '+']).unwrap_or(inner);
    (!inner.contains("{{") && !inner.contains("}}") && !inner.contains("{%")).then_some(inner)
}

fn bounded(source: &str) -> Result<(), String> {
    if source.len() > MAX_SOURCE_BYTES {
        return Err(format!("it has {} bytes, and at most {MAX_SOURCE_BYTES} are allowed", source.len()));
    }
    let mut in_expression = usize::from(!source.contains("{{") && !source.contains("{%"));
    let mut operators = 0;
    let mut previous = ' ';
    for character in source.chars() {
        match (previous, character) {
            ('{', '{' | '%') => in_expression += 1,
            ('}' | '%', '}') => in_expression = in_expression.saturating_sub(1),
            // Words are operators too (`and`, `not`, `if`), so spaces count like signs.
            (_, c) if in_expression > 0 && (c == ' ' || c.is_ascii_punctuation()) => operators += 1,
            _ => {}
        }
        previous = character;
    }
    if operators > MAX_OPERATORS * 4 {
        return Err(format!("it is too long: at most about {MAX_OPERATORS} operators are allowed"));
    }
    Ok(())
}
