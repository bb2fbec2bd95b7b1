//! Keys of providers of models.

use std::path::PathBuf;

use crate::config::reader::{Reader, path};
use crate::config::secret::Secret;
use crate::config::table::Setting;

/// The largest weight of a key.
const MAX_WEIGHT: u32 = 1_000;

/// Where API keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// The setting itself.
    Value(Secret),
    /// A file, to be read again when it changes; [`parse_keys`] has its form.
    File(PathBuf),
}

/// One of several keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightedKey {
    /// The key.
    pub key: Secret,
    /// Its share of the requests, in proportion to the others'; from 1.
    pub weight: u32,
}

impl KeySource {
    /// Reads the setting that holds a key and the one that names a file; the outer `None` means that one is wrong.
    pub(super) fn read(reader: &mut Reader, value: &Setting, file: &Setting) -> Option<Option<Self>> {
        let given = reader.optional(value, |text| is_key(text).then(|| Secret::new(text)));
        let named = reader.try_optional(file, |text| {
            let path = path(text).ok_or("a path has no NUL")?;
            let text = std::fs::read_to_string(&path).map_err(|e| format!("{} can't be read: {e}", path.display()))?;
            parse_keys(&text).map_err(|why| format!("{}: {why}", path.display()))?;
            Ok(path)
        });
        match (given?, named?) {
            (Some(_), Some(_)) => {
                reader.contradiction(file, format!("{} is set too: keep one of them", value.key));
                None
            }
            (given, named) => Some(given.map(Self::Value).or(named.map(Self::File))),
        }
    }
}

/// Reads a file of keys: one key on a line, if need be followed by a space and its weight.
///
/// # Errors
/// What is wrong, without repeating anything of the text.
pub fn parse_keys(text: &str) -> Result<Vec<WeightedKey>, String> {
    let expected = format!("expected one key on each line, if need be with a weight from 1 to {MAX_WEIGHT} after it");
    let mut keys = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let mut words = line.split_whitespace();
        let Some(key) = words.next() else { continue };
        let weight = words.next().map_or(Some(1), |weight| weight.parse().ok());
        match weight {
            Some(weight @ 1..=MAX_WEIGHT) if is_key(key) && words.next().is_none() => {
                keys.push(WeightedKey { key: Secret::new(key), weight });
            }
            _ => return Err(format!("line {} is something else: {expected}", index + 1)),
        }
    }
    if keys.is_empty() { Err(format!("there is no key: {expected}")) } else { Ok(keys) }
}

/// A key goes into a header, so it is one line of printable ASCII.
fn is_key(text: &str) -> bool {
    !text.is_empty() && text.len() <= 4_096 && text.bytes().all(|b| b.is_ascii_graphic())
}
