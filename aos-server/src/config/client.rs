//! The server that client commands talk to.

use url::Url;

use crate::config::reader::{Reader, endpoint};
use crate::config::{Secret, table};

/// The server that client commands talk to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Where it is.
    pub url: Url,
    /// The key that they send.
    pub api_key: Option<Secret>,
}

impl Client {
    pub(crate) fn read(reader: &mut Reader) -> Option<Self> {
        let url = reader.get(&table::URL, endpoint);
        let api_key = reader.optional(&table::API_KEY, key);
        Some(Self { url: url?, api_key: api_key? })
    }
}

/// What goes into a header as it is.
fn key(text: &str) -> Option<Secret> {
    let is_word = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
    is_word.then(|| Secret::new(text))
}
