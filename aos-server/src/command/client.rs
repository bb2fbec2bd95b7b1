//! The API as the client commands use it: over HTTP, or in this process on a database file.

use std::time::Duration;

use aos_core::{Code, Failure, codes};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use url::Url;

use super::settings::server_url;
use super::ui::{CommandError, Exit, exit_of};

use crate::cli::Target;
use crate::config::Sources;

/// A way to the API.
pub struct Client {
    http: reqwest::Client,
    base: Url,
}

/// An answer of the API that is not an error.
pub struct Answer {
    text: String,
}

impl Answer {
    /// The answer as text.
    pub fn text(self) -> String {
        self.text
    }

    /// The answer as JSON.
    ///
    /// # Errors
    /// An answer that is not JSON: not an AOS server.
    pub fn json(&self) -> Result<Value, CommandError> {
        serde_json::from_str(&self.text).map_err(|e| {
            let failure =
                Failure::new(codes::INTERNAL, format!("the answer is not JSON ({e}): is this an AOS server?"));
            CommandError::new(Exit::Unreachable, failure).hint("check --url or AOS_URL")
        })
    }
}

impl Client {
    /// The way to where the data is.
    ///
    /// # Errors
    /// A URL that is none, or a file that can't be opened.
    pub async fn to(sources: Sources, target: &Target) -> Result<Self, CommandError> {
        match &target.db {
            None => Self::new(server_url(sources, target)?),
            Some(_) => Err(CommandError::usage("--db is not there yet")),
        }
    }

    /// A client of the server at `base`.
    ///
    /// # Errors
    /// TLS that can't be set up.
    pub fn new(base: Url) -> Result<Self, CommandError> {
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(10))
            .timeout(Duration::from_secs(600))
            .user_agent(concat!("aos-server/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| CommandError::new(Exit::Unreachable, Failure::new(codes::INTERNAL, e.to_string())))?;
        Ok(Self { http, base })
    }

    /// `GET /v1/path?query`; the parts of the path are encoded as they need.
    ///
    /// # Errors
    /// A server that can't be reached, or what it answers with.
    pub async fn get(&self, path: &[&str], query: &[(&str, String)]) -> Result<Answer, CommandError> {
        self.send(Method::GET, path, query, None).await
    }

    /// `POST /v1/path` with a JSON body.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn post(&self, path: &[&str], body: &Value) -> Result<Answer, CommandError> {
        self.send(Method::POST, path, &[], Some(body)).await
    }

    async fn send(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, String)],
        body: Option<&Value>,
    ) -> Result<Answer, CommandError> {
        let mut url = self.base.clone();
        // An http URL always has a path.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v1").extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = self.http.request(method, url);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(|e| self.unreachable(&e))?;
        let status = response.status();
        let text = response.text().await.map_err(|e| self.unreachable(&e))?;
        if status.is_success() { Ok(Answer { text }) } else { Err(problem(status, &text)) }
    }

    fn unreachable(&self, error: &reqwest::Error) -> CommandError {
        let why = if error.is_connect() {
            "nothing answers there"
        } else if error.is_timeout() {
            "it took too long to answer"
        } else {
            "the connection broke off"
        };
        let failure =
            Failure::new(codes::STORE_UNAVAILABLE, format!("the server at {} can't be reached: {why}", self.base));
        CommandError::new(Exit::Unreachable, failure)
            .hint("start one with `aos-server`, name another with --url or AOS_URL, or read its file with --db FILE")
    }
}

/// The error that a problem document describes; anything else is not an AOS server, or something in front of it.
fn problem(status: StatusCode, text: &str) -> CommandError {
    let document: Value = serde_json::from_str(text).unwrap_or_default();
    let Some(code) = document["code"].as_str() else {
        let failure = Failure::new(
            codes::STORE_UNAVAILABLE,
            format!("the server answered with {status} and no problem document"),
        );
        return CommandError::new(Exit::Unreachable, failure).hint("is this an AOS server? check --url or AOS_URL");
    };
    let code = codes::ALL
        .iter()
        .find(|info| info.code == code)
        .map_or_else(|| Code::custom(code), |info| Code::custom(info.code));
    let mut message = document["detail"].as_str().unwrap_or_default().to_owned();
    for error in document["errors"].as_array().into_iter().flatten() {
        message = format!("{message}\n  {}: {}", text_of(&error["path"]), text_of(&error["message"]));
    }
    let exit = if status.is_server_error() { Exit::Unreachable } else { exit_of(&code) };
    let failure = Failure::new(code, message).details(document["details"].clone());
    let error = CommandError::new(exit, failure);
    match document["action"].as_str() {
        Some(action) => error.hint(action),
        None => error,
    }
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
