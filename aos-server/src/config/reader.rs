//! Typed values out of raw ones; what is wrong is collected, so that one start names every fault.

use std::path::PathBuf;

use url::Url;

use crate::config::problem::{Origin, Problem};
use crate::config::source::Values;
use crate::config::table::Setting;

/// Reads typed values and collects what is wrong.
pub(crate) struct Reader {
    values: Values,
}

impl Reader {
    pub(crate) fn new(values: Values) -> Self {
        Self { values }
    }

    /// Every fault found and every warning.
    pub(crate) fn into_findings(self) -> (Vec<Problem>, Vec<String>) {
        (self.values.problems, self.values.warnings)
    }

    /// The value of a setting that has a default; `None` when it is wrong, which is noted.
    pub(crate) fn get<T>(&mut self, setting: &Setting, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        self.optional(setting, parse).flatten()
    }

    /// The value of a setting that may be unset; the outer `None` means that it is wrong, which is noted.
    pub(crate) fn optional<T>(&mut self, setting: &Setting, parse: impl Fn(&str) -> Option<T>) -> Option<Option<T>> {
        self.try_optional(setting, |text| parse(text).ok_or_else(|| mismatch(setting, text)))
    }

    /// As [`Reader::optional`], with a reason from the parser, which must not repeat a secret.
    pub(crate) fn try_optional<T>(
        &mut self,
        setting: &Setting,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Option<T>> {
        let given = self.values.values.get(setting.key).cloned();
        let Some((text, origin)) = given.or_else(|| setting.default.map(|text| (text.to_owned(), Origin::Default)))
        else {
            return Some(None);
        };
        match parse(&text) {
            Ok(value) => Some(Some(value)),
            Err(fault) => {
                self.fault(setting, origin, fault);
                None
            }
        }
    }

    /// Notes a fault that is not one of a value's form.
    pub(crate) fn contradiction(&mut self, setting: &Setting, fault: impl Into<String>) {
        let origin = self.values.values.get(setting.key).map_or(Origin::Default, |(_, origin)| origin.clone());
        self.fault(setting, origin, fault.into());
    }

    fn fault(&mut self, setting: &Setting, origin: Origin, fault: String) {
        let example = match origin {
            Origin::File(_) => format!("{} = {:?}", setting.key, setting.example),
            _ => format!("{}={}", setting.key, setting.example),
        };
        self.values.problems.push(Problem { key: setting.key.to_owned(), origin, fault, example: Some(example) });
    }
}

fn mismatch(setting: &Setting, text: &str) -> String {
    let found = if setting.secret { "the value".to_owned() } else { format!("{:?}", shorten(text)) };
    format!("{found} is not {}", setting.expected)
}

/// At most 80 characters of a value, for a message.
pub(crate) fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(80).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// `true`, `false` and their usual spellings.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// An integer within bounds.
pub(crate) fn integer(range: std::ops::RangeInclusive<u64>) -> impl Fn(&str) -> Option<u64> {
    move |text| text.parse().ok().filter(|number| range.contains(number))
}

/// An http or https URL that is a place and nothing more.
pub(crate) fn endpoint(text: &str) -> Option<Url> {
    Url::parse(text).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    })
}

/// A path.
pub(crate) fn path(text: &str) -> Option<PathBuf> {
    (!text.contains('\0')).then(|| PathBuf::from(text))
}
