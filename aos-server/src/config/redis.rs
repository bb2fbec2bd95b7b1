//! Where Redis is.

use crate::config::reader::Reader;
use crate::config::secret::Secret;
use crate::config::table;

/// The URL, checked; the outer `None` means that it is wrong, which is noted.
pub(crate) fn read(reader: &mut Reader) -> Option<Option<Secret>> {
    reader.try_optional(&table::REDIS_URL, parse)
}

/// What is wrong never repeats the URL, which may hold a password.
fn parse(text: &str) -> Result<Secret, String> {
    let expected = table::REDIS_URL.expected;
    let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    if !matches!(scheme.as_deref(), Some("redis" | "rediss" | "unix")) {
        return Err(format!("the value is not {expected}"));
    }
    let url = url::Url::parse(text).map_err(|error| format!("it is not a URL ({error}): expected {expected}"))?;
    if url.fragment().is_some() {
        return Err(format!("the URL has a fragment (#), and none is known: expected {expected}"));
    }
    match redis::Client::open(url) {
        Ok(_) => Ok(Secret::new(text)),
        Err(error) => {
            let error = error.to_string().to_lowercase();
            // The rest is the name of an error's kind, and sometimes a part of the URL.
            Err(format!("{}: expected {expected}", error.split(" - ").next().unwrap_or_default()))
        }
    }
}
