//! JSON Schemas by the crate `jsonschema`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde_json::Value;

use super::{CompiledSchema, MAX_MISTAKES, Mistake, SchemaCompiler, bounds};
use crate::canonical::Hash;
use crate::error::{Failure, codes};
use crate::payload::Payload;
use crate::text::nearest;

/// How many compiled schemas are kept.
const CACHED: usize = 1_024;

/// Bytes that one compiled pattern may take.
const PATTERN_BYTES: usize = 1 << 20;

/// Of a value with more parts than this only the first mistake is reported, because there may be as many.
const MAX_PARTS: usize = 20_000;

/// Compiles JSON Schemas, 2020-12 unless a schema says otherwise, and keeps those used last.
///
/// References lead to `#/…` of the same document only. Patterns are matched in linear time, so that those with
/// look-around or back-references are refused. `format` describes and is not checked.
#[derive(Default)]
pub struct JsonSchemas {
    compiled: Mutex<BTreeMap<Hash, Arc<Compiled>>>,
}

impl JsonSchemas {
    /// A compiler with nothing compiled yet.
    pub fn new() -> Self {
        Self::default()
    }
}

impl SchemaCompiler for JsonSchemas {
    fn compile(&self, schema: &Value) -> Result<Arc<dyn CompiledSchema>, Failure> {
        let hash = Payload::new(schema.clone())?.hash();
        // Every change of the cache is one call, so a panic elsewhere leaves it usable.
        let cached = self.compiled.lock().unwrap_or_else(PoisonError::into_inner).get(&hash).cloned();
        let compiled = match cached {
            Some(compiled) => compiled,
            None => {
                let compiled = Arc::new(Compiled::new(schema)?);
                let mut cache = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
                if cache.len() >= CACHED {
                    cache.clear();
                }
                cache.insert(hash, Arc::clone(&compiled));
                compiled
            }
        };
        Ok(compiled)
    }
}

struct Compiled {
    schema: Value,
    validator: Validator,
}

impl Compiled {
    fn new(schema: &Value) -> Result<Self, Failure> {
        let refused = |path: &str, why: &str| {
            let place = if path.is_empty() { "at the top".into() } else { format!("at {path}") };
            Failure::new(codes::INVALID_DEFINITION, format!("not a usable JSON Schema {place}: {why}"))
                .details(serde_json::json!({ "path": path, "why": why }))
        };
        bounds::check(schema).map_err(|error| refused(&error.path, &error.why))?;
        let mut options = jsonschema::options()
            .offline()
            .with_pattern_options(PatternOptions::regex().size_limit(PATTERN_BYTES).dfa_size_limit(PATTERN_BYTES));
        if schema.get("$schema").is_none() {
            options = options.with_draft(Draft::Draft202012);
        }
        // A schema is checked against the schema of schemas, so the error's place is one in ours.
        let validator = options.build(schema).map_err(|error| {
            let found = short(error.instance());
            refused(error.instance_path().as_str(), &format!("expected {}, found {found}", expected(&error)))
        })?;
        Ok(Self { schema: schema.clone(), validator })
    }

    fn mistakes(&self, error: &ValidationError<'_>) -> Vec<Mistake> {
        let (path, schema_path) = (error.instance_path().as_str(), error.schema_path().as_str());
        let mistake = |path: String, found: String, expected: String| Mistake {
            path,
            found,
            expected,
            schema_path: schema_path.to_owned(),
        };
        match error.kind() {
            ValidationErrorKind::Required { property } => {
                let name = property.as_str().unwrap_or_default();
                vec![mistake(join(path, name), "nothing".into(), "this property, which is required".into())]
            }
            ValidationErrorKind::AdditionalProperties { unexpected }
            | ValidationErrorKind::UnevaluatedProperties { unexpected } => unexpected
                .iter()
                .take(MAX_MISTAKES)
                .map(|name| {
                    let hint = match self.property_like(schema_path, name) {
                        Some(meant) => format!("no property of this name (did you mean {meant:?}?)"),
                        None => "no property of this name".into(),
                    };
                    let found = error.instance().get(name).map_or_else(|| "a property".into(), short);
                    mistake(join(path, name), found, hint)
                })
                .collect(),
            _ => vec![mistake(path.to_owned(), short(error.instance()), expected(error))],
        }
    }

    /// The known property that an unknown one is most likely a typo of.
    fn property_like(&self, schema_path: &str, name: &str) -> Option<&str> {
        let (parent, _) = schema_path.rsplit_once('/')?;
        let known = self.schema.pointer(parent)?.get("properties")?.as_object()?;
        nearest(name, known.keys().map(String::as_str))
    }
}

impl CompiledSchema for Compiled {
    fn check(&self, value: &Value) -> Vec<Mistake> {
        if self.validator.is_valid(value) {
            return Vec::new();
        }
        let mut mistakes: Vec<Mistake> = if parts(value, MAX_PARTS) > MAX_PARTS {
            self.validator.validate(value).err().iter().flat_map(|error| self.mistakes(error)).collect()
        } else {
            self.validator.iter_errors(value).flat_map(|error| self.mistakes(&error)).collect()
        };
        // The order of keywords in a schema object depends on a feature of another crate.
        mistakes.sort_by(|a, b| (&a.path, &a.schema_path).cmp(&(&b.path, &b.schema_path)));
        mistakes.truncate(MAX_MISTAKES);
        mistakes
    }
}

/// What a schema asks for at the place of an error.
fn expected(error: &ValidationError<'_>) -> String {
    use ValidationErrorKind as Kind;
    let a = |name: &str| match name {
        "array" | "integer" | "object" => format!("an {name}"),
        "null" => "null".into(),
        _ => format!("a {name}"),
    };
    match error.kind() {
        Kind::Type { kind: TypeKind::Single(only) } => a(only.as_str()),
        Kind::Type { kind: TypeKind::Multiple(types) } => {
            types.iter().map(|one| a(one.as_str())).collect::<Vec<_>>().join(" or ")
        }
        Kind::Enum { options } => {
            let options: Vec<String> = options.as_array().map_or(&[][..], Vec::as_slice).iter().map(short).collect();
            cut(&format!("one of {}", options.join(", ")), 300)
        }
        Kind::Constant { expected_value } => short(expected_value),
        Kind::Minimum { limit } => format!("{limit} or more"),
        Kind::Maximum { limit } => format!("{limit} or less"),
        Kind::ExclusiveMinimum { limit } => format!("more than {limit}"),
        Kind::ExclusiveMaximum { limit } => format!("less than {limit}"),
        Kind::MinLength { limit } => format!("at least {limit} characters"),
        Kind::MaxLength { limit } => format!("at most {limit} characters"),
        Kind::MinItems { limit } => format!("at least {limit} items"),
        Kind::MaxItems { limit } => format!("at most {limit} items"),
        Kind::MinProperties { limit } => format!("at least {limit} properties"),
        Kind::MaxProperties { limit } => format!("at most {limit} properties"),
        Kind::AdditionalItems { limit } => format!("at most {limit} items"),
        Kind::MultipleOf { multiple_of } => format!("a multiple of {multiple_of}"),
        Kind::Pattern { pattern } => format!("a text that matches {}", cut(pattern, 120)),
        Kind::Required { property } => format!("the property {property}"),
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            format!("no property {}", cut(&unexpected.join(", "), 120))
        }
        Kind::UniqueItems => "items that all differ".into(),
        Kind::Contains => "an item that fits `contains`".into(),
        Kind::FalseSchema => "nothing".into(),
        Kind::Not { .. } => "a value that does not fit `not`".into(),
        Kind::OneOfMultipleValid { .. } => "a value that fits only one of the schemas of `oneOf`".into(),
        Kind::AnyOf { context } | Kind::OneOfNotValid { context } => alternatives(error, context),
        Kind::PropertyNames { error } => format!("other property names: {}", expected(error)),
        _ => cut(&error.masked().to_string(), 300),
    }
}

/// What each branch of an `anyOf` or `oneOf` asks for first.
fn alternatives(whole: &ValidationError<'_>, context: &[Vec<ValidationError<'static>>]) -> String {
    const SHOWN: usize = 4;
    let mut text = String::from("either ");
    for (index, branch) in context.iter().take(SHOWN).enumerate() {
        let Some(first) = branch.first() else { continue };
        let (path, within) = (first.instance_path().as_str(), whole.instance_path().as_str());
        let place = match path.strip_prefix(within).unwrap_or(path) {
            "" => String::new(),
            path => format!(" at {path}"),
        };
        let or = if index == 0 { "" } else { " or " };
        // Writing to a string can't fail.
        let _ = write!(text, "{or}{}{place}", cut(&expected(first), 80));
    }
    if context.len() > SHOWN {
        let _ = write!(text, " or {} more", context.len() - SHOWN);
    }
    text
}

fn join(path: &str, name: &str) -> String {
    format!("{path}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// A value as short text: scalars as they are, the beginning of texts, the size of the rest.
fn short(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("an array of {} items", items.len()),
        Value::Object(fields) => format!("an object with {} properties", fields.len()),
        Value::String(text) => format!("{:?}", cut(text, 60)),
        other => other.to_string(),
    }
}

fn cut(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// How many values a value consists of, counted up to a little over `limit`.
fn parts(value: &Value, limit: usize) -> usize {
    let add = |sum: usize, inner: &Value| if sum > limit { sum } else { sum + parts(inner, limit - sum) };
    match value {
        Value::Array(items) => items.iter().fold(1, add),
        Value::Object(fields) => fields.values().fold(1, add),
        _ => 1,
    }
}
