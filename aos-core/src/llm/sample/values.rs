//! Makes values of each type from schemas that must all hold.

use serde_json::{Map, Value};

use super::check::{list, map, tuple};
use super::decimal::{Decimal, common_step};
use super::facets::Facets;
use super::pattern::Pattern;
use super::{Choice, Sampler, format};

/// The longest text that is made.
const MAX_CHARS: usize = 20_000;

/// The most items or properties that are made.
const MAX_ITEMS: usize = 1_000;

/// How often a text or a unique item is tried.
const TRIES: u32 = 24;

impl<'s> Sampler<'s, '_> {
    /// A value for `facets`; the caller checks it.
    pub(super) fn value(&mut self, facets: &Facets<'s>, choice: Choice, name: &str, depth: usize) -> Option<Value> {
        let listed = facets.all("const").next().map(std::slice::from_ref);
        let listed = listed.or_else(|| facets.all("enum").find_map(Value::as_array).map(Vec::as_slice));
        if let Some(listed) = listed {
            let mut fitting = Vec::new();
            for value in listed {
                // Only what each schema says by itself: the caller checks the rest.
                if facets.schemas.iter().all(|schema| super::check::fits(schema, value)) {
                    fitting.push(value);
                }
            }
            let telling: Vec<_> = fitting.iter().filter(|value| !value.is_null()).copied().collect();
            let among = if choice.attempt < 2 && !telling.is_empty() { telling } else { fitting };
            return self.pick(&among).map(|value| (*value).clone());
        }
        let mut types = facets.types();
        if choice.attempt < 2 && types.len() > 1 {
            types.retain(|name| *name != "null");
        }
        match *self.pick(&types)? {
            "object" => self.object(facets, choice, depth),
            "array" => self.array(facets, choice, name, depth),
            "string" => self.text(facets, name).map(Value::from),
            "integer" => self.number(facets, true),
            "number" => self.number(facets, false),
            "boolean" => Some(Value::Bool(self.below(2) == 1)),
            _ => Some(Value::Null),
        }
    }

    fn text(&mut self, facets: &Facets<'s>, name: &str) -> Option<String> {
        let (min, max) = (
            facets.largest("minLength").unwrap_or(0),
            facets.smallest("maxLength").unwrap_or(MAX_CHARS).min(MAX_CHARS),
        );
        if min > max {
            return None;
        }
        let patterns: Vec<Pattern> =
            facets.all("pattern").filter_map(Value::as_str).filter_map(|text| Pattern::parse(text).ok()).collect();
        let formats: Vec<&str> = facets.all("format").filter_map(Value::as_str).collect();
        (0..TRIES).find_map(|_| {
            let made = formats.iter().find_map(|format| format::make(format, self.rng));
            let text = match made {
                Some(text) => text,
                None if patterns.is_empty() => self.words(name, min, max),
                // A pattern that says nothing of the end lets a short text go on.
                None => longer(self.pick(&patterns)?.make(self.rng, min, max), min),
            };
            let chars = text.chars().count();
            let fits = (min..=max).contains(&chars)
                && patterns.iter().all(|pattern| pattern.matches(&text))
                && formats.iter().all(|format| format::valid(format, &text));
            fits.then_some(text)
        })
    }

    /// `stub title 42`, made longer or shorter as needed.
    fn words(&mut self, name: &str, min: usize, max: usize) -> String {
        let text = format!("stub {name} {}", self.below(100));
        let length = text.chars().count();
        if length > max {
            // A short text still differs from others: keep the end, where the number is.
            return text.chars().skip(length - max).collect();
        }
        longer(text, min)
    }

    fn number(&mut self, facets: &Facets<'s>, integer: bool) -> Option<Value> {
        let one = Value::from(1);
        let mut steps: Vec<&Value> = facets.all("multipleOf").collect();
        if integer {
            steps.push(&one);
        }
        if !steps.is_empty() {
            return self.number_of_steps(facets, common_step(&steps)?);
        }
        // Two decimals read well; a narrow range needs more.
        [-2, -4, -8, -12]
            .into_iter()
            .find_map(|exponent| self.number_of_steps(facets, Decimal { digits: 1, exponent }))
            .or_else(|| facets.all("minimum").chain(facets.all("maximum")).next().cloned())
    }

    fn number_of_steps(&mut self, facets: &Facets<'s>, step: Decimal) -> Option<Value> {
        const SAFE: i128 = crate::canonical::MAX_SAFE_INTEGER as i128;
        let (mut low, mut high) = (None::<i128>, None::<i128>);
        let mut tighten = |key: &str, lower: bool, exclusive: bool| {
            for bound in facets.all(key) {
                let bound = Decimal::of(bound)?;
                let exponent = bound.exponent.min(step.exponent);
                let (bound, step) = (bound.at(exponent)?, step.at(exponent)?);
                let (quotient, rest) = (bound.div_euclid(step), bound.rem_euclid(step));
                if lower {
                    let first = quotient + i128::from(rest > 0 || exclusive);
                    low = Some(low.map_or(first, |low| low.max(first)));
                } else {
                    let last = quotient - i128::from(rest == 0 && exclusive);
                    high = Some(high.map_or(last, |high| high.min(last)));
                }
            }
            Some(())
        };
        tighten("minimum", true, false)?;
        tighten("exclusiveMinimum", true, true)?;
        tighten("maximum", false, false)?;
        tighten("exclusiveMaximum", false, true)?;
        // A hundred units, or a hundred steps where these are larger.
        let hundred = Decimal { digits: 100, exponent: 0 };
        let exponent = step.exponent.min(0);
        let width = hundred.at(exponent)?.checked_div(step.at(exponent)?)?.max(100);
        let (low, high) = match (low, high) {
            (None, None) => (0, width),
            (Some(low), None) => (low, low.checked_add(width)?),
            (None, Some(high)) if high >= 0 => (high.checked_sub(width)?.max(0), high),
            (None, Some(high)) => (high.checked_sub(width)?, high),
            (Some(low), Some(high)) => (low, high),
        };
        let (low, high) = (low.max(-SAFE), high.min(SAFE));
        if low > high {
            return None;
        }
        let choices = u64::try_from(high - low).ok()?.checked_add(1)?;
        let digits = step.digits.checked_mul(low + i128::from(self.rng.below(choices)))?;
        Decimal { digits, exponent: step.exponent }.value()
    }

    fn array(&mut self, facets: &Facets<'s>, choice: Choice, name: &str, depth: usize) -> Option<Value> {
        let (min, max) = (facets.largest("minItems").unwrap_or(0), facets.smallest("maxItems").unwrap_or(MAX_ITEMS));
        let max = max.min(MAX_ITEMS);
        let first = facets.schemas.iter().map(|schema| tuple(schema).0.len()).max().unwrap_or(0);
        let contains: Vec<(&Value, usize)> = facets
            .schemas
            .iter()
            .filter_map(|schema| {
                Some((schema.get("contains")?, super::check::size(schema, "minContains").unwrap_or(1)))
            })
            .collect();
        let needed = min.max(contains.iter().map(|(_, count)| *count).sum());
        if needed > max {
            return None;
        }
        let wanted = if choice.plain { needed } else { needed.max(first).max(1) + self.below(3) }.min(max);
        let unique = facets.all("uniqueItems").any(|unique| *unique == Value::Bool(true));
        // Items that must be there for `contains` come one after the other, each schema with as many as it needs.
        let mut kept: Vec<&'s Value> = Vec::new();
        for (schema, count) in contains {
            kept.extend(std::iter::repeat_n(schema, count));
        }
        let mut items: Vec<Value> = Vec::new();
        while items.len() < wanted {
            let index = items.len();
            let mut schemas: Vec<&'s Value> = facets
                .schemas
                .iter()
                .filter_map(|schema| {
                    let (prefix, rest) = tuple(schema);
                    prefix.get(index).or(rest)
                })
                .collect();
            schemas.extend(kept.get(index));
            let tries = if unique { TRIES } else { 1 };
            let item = (0..tries)
                .find_map(|_| self.make(&schemas, name, depth + 1).filter(|item| !unique || !items.contains(item)));
            match item {
                Some(item) => items.push(item),
                None if items.len() >= needed => break,
                None => return None,
            }
        }
        Some(Value::Array(items))
    }

    fn object(&mut self, facets: &Facets<'s>, choice: Choice, depth: usize) -> Option<Value> {
        let (min, max) =
            (facets.largest("minProperties").unwrap_or(0), facets.smallest("maxProperties").unwrap_or(MAX_ITEMS));
        let mut required: Vec<&'s str> = Vec::new();
        for schema in &facets.schemas {
            required.extend(list(schema, "required").iter().filter_map(Value::as_str));
        }
        let mut optional: Vec<&'s str> = Vec::new();
        if !choice.only_required() || required.len() < min {
            for schema in &facets.schemas {
                optional.extend(map(schema, "properties").into_iter().flatten().map(|(key, _)| key.as_str()));
            }
        }
        self.dependent(facets, &mut required);
        let mut fields = Map::new();
        for key in &required {
            if !fields.contains_key(*key) {
                let value = self.property(facets, key, depth)?;
                fields.insert((*key).to_owned(), value);
            }
        }
        for key in optional {
            if fields.len() < max
                && !fields.contains_key(key)
                && let Some(value) = self.property(facets, key, depth)
            {
                // What this one brings along must come too, and fit.
                let mut along = vec![key];
                self.dependent(facets, &mut along);
                fields.insert(key.to_owned(), value);
                for key in along {
                    if !fields.contains_key(key) {
                        let value = self.property(facets, key, depth)?;
                        fields.insert(key.to_owned(), value);
                    }
                }
            }
        }
        let is_map = fields.is_empty()
            && !choice.plain
            && facets.all("additionalProperties").chain(facets.all("patternProperties")).any(Value::is_object)
            && facets.all("properties").next().is_none();
        let wanted = if is_map { min.max(2) } else { min }.min(max);
        for number in 1..=TRIES as usize * 2 + wanted {
            if fields.len() >= wanted || fields.len() >= MAX_ITEMS {
                break;
            }
            if let Some(key) = self.key(facets, number, depth)
                && !fields.contains_key(&key)
                && let Some(value) = self.property(facets, &key, depth)
            {
                fields.insert(key, value);
            }
        }
        Some(Value::Object(fields))
    }

    /// Adds the properties that those in `keys` demand.
    fn dependent(&self, facets: &Facets<'s>, keys: &mut Vec<&'s str>) {
        let mut done = 0;
        while let Some(key) = keys.get(done).copied() {
            done += 1;
            for needed in facets.all("dependentRequired").filter_map(|d| d.get(key)?.as_array()) {
                for key in needed.iter().filter_map(Value::as_str) {
                    if !keys.contains(&key) {
                        keys.push(key);
                    }
                }
            }
        }
    }

    fn property(&mut self, facets: &Facets<'s>, key: &str, depth: usize) -> Option<Value> {
        let mut schemas: Vec<&'s Value> = Vec::new();
        for schema in &facets.schemas {
            let before = schemas.len();
            schemas.extend(map(schema, "properties").and_then(|properties| properties.get(key)));
            let matching = map(schema, "patternProperties").into_iter().flatten();
            schemas.extend(
                matching.filter(|(p, _)| Pattern::parse(p).is_ok_and(|p| p.matches(key))).map(|(_, schema)| schema),
            );
            if schemas.len() == before {
                schemas.extend(schema.get("additionalProperties"));
            }
        }
        self.make(&schemas, key, depth + 1)
    }

    /// A name for a property that no schema names.
    fn key(&mut self, facets: &Facets<'s>, number: usize, depth: usize) -> Option<String> {
        let names: Vec<&'s Value> = facets.all("propertyNames").collect();
        if !names.is_empty() {
            return self.make(&names, "key", depth + 1)?.as_str().map(str::to_owned);
        }
        let pattern = facets.all("patternProperties").find_map(|patterns| patterns.as_object()?.keys().next());
        match pattern.and_then(|pattern| Pattern::parse(pattern).ok()) {
            Some(pattern) => Some(pattern.make(self.rng, 0, 40)),
            None => Some(format!("key_{number}")),
        }
    }
}

/// `text` with more text after it, if it is shorter than `min` characters.
fn longer(text: String, min: usize) -> String {
    let length = text.chars().count();
    text.chars().chain(" and so on".chars().cycle()).take(length.max(min)).collect()
}
