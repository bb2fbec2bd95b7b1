//! Expressions and templates: Jinja, strict about undefined names, bounded, and never anything but a function of
//! their variables.
//!
//! A template is any JSON value whose strings may hold `{{ … }}`. A string that is one single expression gives the
//! expression's value with its JSON type; every other string is rendered as text.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use minijinja::value::ValueKind;
use minijinja::{Environment, Expression, UndefinedBehavior};
use serde_json::{Map, Number, Value};

use crate::error::{Failure, codes};
use crate::workflow::path::VariablePath;
use crate::workflow::scope::Scope;

/// Instructions that one evaluation may take.
const FUEL: u64 = 100_000;

/// The longest expression or text template, in bytes.
pub(super) const MAX_SOURCE_BYTES: usize = 16 * 1024;

/// The longest chain of operators in one expression: a parser's tree of it must not be deeper than a thread's stack.
const MAX_OPERATORS: usize = 500;

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_recursion_limit(100);
    environment
});

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
                json(&value, 0).map_err(|why| self.failure(&why))
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

/// A Jinja error without the parts that mean nothing here.
fn explain(error: &minijinja::Error) -> String {
    use minijinja::ErrorKind as Kind;
    let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
    match error.kind() {
        Kind::UndefinedError => {
            let name = detail.strip_prefix(": ").map(|name| format!("{name} is undefined"));
            name.unwrap_or_else(|| "it uses a name that is undefined here".to_owned())
        }
        Kind::OutOfFuel => format!("it takes more than {FUEL} instructions"),
        kind => format!("{kind}{detail}"),
    }
}

/// A Jinja value as JSON, without changing anything silently.
fn json(value: &minijinja::Value, depth: usize) -> Result<Value, String> {
    if depth > crate::canonical::MAX_DEPTH {
        return Err("its value nests too deep".to_owned());
    }
    Ok(match value.kind() {
        ValueKind::Undefined => return Err("its value is undefined".to_owned()),
        ValueKind::None => Value::Null,
        ValueKind::Bool => Value::Bool(value.is_true()),
        ValueKind::Number => Value::Number(number(value)?),
        ValueKind::String => Value::String(value.as_str().unwrap_or_default().to_owned()),
        ValueKind::Seq | ValueKind::Iterable => {
            let items = value.try_iter().map_err(|e| explain(&e))?;
            Value::Array(bounded_items(items)?.iter().map(|item| json(item, depth + 1)).collect::<Result<_, _>>()?)
        }
        ValueKind::Map => {
            let mut object = Map::new();
            for key in value.try_iter().map_err(|e| explain(&e))? {
                let item = value.get_item(&key).map_err(|e| explain(&e))?;
                object.insert(key.to_string(), json(&item, depth + 1)?);
            }
            Value::Object(object)
        }
        kind => return Err(format!("its value is a {kind}, which JSON can't express")),
    })
}

/// An iterator of Jinja may be endless for practical purposes (`range(10**18)`).
fn bounded_items(items: impl Iterator<Item = minijinja::Value>) -> Result<Vec<minijinja::Value>, String> {
    const MAX_ITEMS: usize = 1_000_000;
    let items: Vec<_> = items.take(MAX_ITEMS + 1).collect();
    if items.len() > MAX_ITEMS {
        return Err(format!("its value has more than {MAX_ITEMS} items"));
    }
    Ok(items)
}

fn number(value: &minijinja::Value) -> Result<Number, String> {
    if value.is_integer() {
        let integer = i64::try_from(value.clone()).map_err(|_| "its value is an integer beyond 64 bits".to_owned())?;
        return Ok(integer.into());
    }
    let float = f64::try_from(value.clone()).map_err(|e| explain(&e))?;
    Number::from_f64(float).ok_or_else(|| format!("its value is {float}, which JSON can't express"))
}
