//! The adapter for servers that speak OpenAI's chat completions.

use url::Url;

use crate::config::keys::KeySource;
use crate::config::reader::{Reader, endpoint};
use crate::config::table;

/// Where OpenAI itself is.
const PUBLIC: &str = "https://api.openai.com/v1";

/// What the adapter needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenAi {
    /// The keys, if the server wants one.
    pub api_key: Option<KeySource>,
    /// The only place that gets the key; without one there is no adapter.
    pub base_url: Option<Url>,
}

impl OpenAi {
    pub(crate) fn read(reader: &mut Reader) -> Option<Self> {
        let api_key = KeySource::read(reader, &table::OPENAI_API_KEY, &table::OPENAI_API_KEY_FILE);
        let base_url = reader.optional(&table::OPENAI_BASE_URL, endpoint);
        let api_key = api_key?;
        let public = || api_key.as_ref().and_then(|_| Url::parse(PUBLIC).ok());
        Some(Self { base_url: base_url?.or_else(public), api_key })
    }
}
