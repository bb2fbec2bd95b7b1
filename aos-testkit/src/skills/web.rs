//! `http_call@1.0.0` and `search@1.0.0` over documents instead of a network.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use aos_core::payload::Payload;
use aos_core::skill::{SkillCall, SkillContract, TypedSkill};
use aos_core::{Failure, codes};
use serde_json::{Value, json};

/// One answer of a [`Web`].
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    status: u16,
    content_type: String,
    body: String,
}

impl Page {
    /// A page with status 200.
    pub fn new(content_type: &str, body: impl Into<String>) -> Self {
        Self { status: 200, content_type: content_type.to_owned(), body: body.into() }
    }

    /// Sets another status; 400 and above is a failure `ERR_HTTP_STATUS`.
    #[must_use]
    pub const fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }
}

/// Pages by URL. A URL with several pages gives them one after the other, to one effect each, and the last one from
/// then on.
#[derive(Clone, Default)]
pub struct Web(Arc<Mutex<BTreeMap<String, Site>>>);

#[derive(Default)]
struct Site {
    pages: Vec<Page>,
    /// Which page an effect got, by idempotency key: an effect that is repeated after a crash gets the same again.
    given: BTreeMap<String, usize>,
}

impl Web {
    /// No pages.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a page under `url`, behind those that are there.
    #[must_use]
    pub fn page(self, url: &str, page: Page) -> Self {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(url.to_owned()).or_default().pages.push(page);
        self
    }

    /// The skill, with the input and output fields of the server's `http_call`.
    ///
    /// # Errors
    /// None in practice: the contract is a constant.
    pub fn skill(&self) -> Result<TypedSkill, Failure> {
        let contract = SkillContract::idempotent("http_call", "1.0.0")?
            .description("Gives the document that the test keeps for a URL.")
            .schemas(
                json!({"type": "object", "required": ["url"], "properties": {"url": {"type": "string"}, "method": {"type": "string"}}}),
                json!({"type": "object", "required": ["status", "headers", "body"]}),
            )
            .volatile(["/elapsed_ms", "/headers/date"]);
        let sites = Arc::clone(&self.0);
        Ok(TypedSkill::untyped(contract, move |call: SkillCall| {
            let answer = answer(&mut sites.lock().unwrap_or_else(PoisonError::into_inner), &call);
            std::future::ready(answer.map(Into::into))
        }))
    }
}

impl Web {
    /// `search@1.0.0` (idempotent): the URLs of pages that have every word of `query`, in their order, at most `limit`.
    ///
    /// # Errors
    /// None in practice: the contract is a constant.
    pub fn search_skill(&self) -> Result<TypedSkill, Failure> {
        let contract = SkillContract::idempotent("search", "1.0.0")?
            .description("Finds pages that have every word of a query.")
            .schemas(
                json!({
                    "type": "object",
                    "required": ["query"],
                    "additionalProperties": false,
                    "properties": {
                        "query": {"type": "string", "minLength": 1},
                        "limit": {"type": "integer", "minimum": 1, "maximum": 10}
                    }
                }),
                json!({"type": "object", "required": ["pages"]}),
            );
        let sites = Arc::clone(&self.0);
        Ok(TypedSkill::untyped(contract, move |call: SkillCall| {
            let found = search(&sites.lock().unwrap_or_else(PoisonError::into_inner), call.input.value());
            std::future::ready(Payload::new(json!({"pages": found})).map(Into::into).map_err(Into::into))
        }))
    }
}

fn search(sites: &BTreeMap<String, Site>, input: &Value) -> Vec<String> {
    let query = input["query"].as_str().unwrap_or_default().to_lowercase();
    let limit = input["limit"].as_u64().and_then(|limit| usize::try_from(limit).ok()).unwrap_or(10);
    let has_all = |site: &Site| {
        let text = site.pages.last().map(|page| page.body.to_lowercase()).unwrap_or_default();
        query.split_whitespace().all(|word| text.contains(word))
    };
    sites.iter().filter(|(_, site)| has_all(site)).map(|(url, _)| url.clone()).take(limit).collect()
}

fn answer(sites: &mut BTreeMap<String, Site>, call: &SkillCall) -> Result<Payload, Failure> {
    let url = call.input.value()["url"].as_str().unwrap_or_default();
    let known = sites.keys().cloned().collect::<Vec<_>>().join(", ");
    let Some(site) = sites.get_mut(url) else {
        let message = format!("the test has no page {url:?}; it has {known}");
        return Err(Failure::new(codes::HTTP_FAILED, message).retryable(false));
    };
    let next = site.given.len();
    let number = *site.given.entry(call.idempotency_key.clone()).or_insert(next);
    let last = site.pages.len().saturating_sub(1);
    let Some(page) = site.pages.get(number.min(last)) else {
        return Err(Failure::new(codes::HTTP_FAILED, format!("the test has no page {url:?}")).retryable(false));
    };
    if page.status >= 400 {
        let message = format!("GET {url} was answered with {}", page.status);
        let details = json!({"body": page.body, "status": page.status, "url": url});
        return Err(Failure::new(codes::HTTP_STATUS, message).retryable(page.status >= 500).details(details));
    }
    let json = page.content_type.contains("json");
    let body = if json { aos_core::json::parse(&page.body).unwrap_or(Value::Null) } else { page.body.clone().into() };
    Payload::new(json!({
        "status": page.status,
        "headers": {"content-type": page.content_type, "date": "Thu, 01 Jan 2026 00:00:00 GMT"},
        "url": url,
        "redirects": 0,
        "body_kind": if json { "json" } else { "text" },
        "body": body,
        "body_bytes": page.body.len(),
        "elapsed_ms": 0,
    }))
    .map_err(Into::into)
}
