//! The API as the client commands use it: over HTTP, or in this process on a database file.

use std::time::Duration;

use aos_core::{Code, Failure, codes};
use axum::body::{Body, to_bytes};
use axum::{Extension, Router};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tower::ServiceExt as _;
use url::Url;

use super::settings::{server, without_listening};
use super::ui::{CommandError, Exit, exit_of};

use crate::cli::Target;
use crate::config::{self, Database, Secret, Sources};
use crate::http::audited::Operator;
use crate::server::Server;

/// A way to the API.
pub enum Client {
    /// A server.
    Remote {
        /// What speaks to it.
        http: reqwest::Client,
        /// Where it is.
        base: Url,
        /// The key for it.
        key: Option<Secret>,
    },
    /// The API in this process, on a file.
    Here(Box<Router>),
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
            None => Self::new(server(sources, target)?),
            Some(db) => Self::on_database(sources, db).await,
        }
    }

    /// The API in this process, on a database that perhaps servers use too. It advances no runs.
    async fn on_database(sources: Sources, db: &str) -> Result<Self, CommandError> {
        let operator = Operator(sources.environment.get("USER").cloned().unwrap_or_else(|| "somebody".into()));
        let config = without_listening(sources, Some(db))?;
        if let Database::Sqlite(path) = &config.database
            && !path.is_file()
        {
            let message = format!("{} is not there, or is not a file", path.display());
            return Err(
                CommandError::usage(message).hint("name the SQLite file of a server, by default aos-data/aos.db")
            );
        }
        let (server, _backend) = Server::beside(&config).await?;
        Ok(Self::Here(Box::new(server.router().layer(Extension(operator)))))
    }

    /// A client of a server.
    ///
    /// # Errors
    /// TLS that can't be set up.
    pub fn new(config: config::Client) -> Result<Self, CommandError> {
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(10))
            .timeout(Duration::from_secs(600))
            .user_agent(concat!("aos-server/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| CommandError::new(Exit::Unreachable, Failure::new(codes::INTERNAL, e.to_string())))?;
        Ok(Self::Remote { http, base: config.url, key: config.api_key })
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

    /// `POST /v1/path?query` with a JSON body.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn post_with(
        &self,
        path: &[&str],
        query: &[(&str, String)],
        body: &Value,
    ) -> Result<Answer, CommandError> {
        self.send(Method::POST, path, query, Some(body)).await
    }

    /// `POST /v1/path` without a body.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn post_nothing(&self, path: &[&str]) -> Result<Answer, CommandError> {
        self.send(Method::POST, path, &[], None).await
    }

    /// `PUT /v1/path` with a JSON body.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn put(&self, path: &[&str], body: &Value) -> Result<Answer, CommandError> {
        self.send(Method::PUT, path, &[], Some(body)).await
    }

    /// `DELETE /v1/path`.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn delete(&self, path: &[&str]) -> Result<Answer, CommandError> {
        self.send(Method::DELETE, path, &[], None).await
    }

    async fn send(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, String)],
        body: Option<&Value>,
    ) -> Result<Answer, CommandError> {
        let (status, text) = match self {
            Self::Remote { http, base, key } => {
                let mut request = http.request(method, address(base.clone(), path, query));
                if let Some(key) = key {
                    request = request.bearer_auth(key.expose());
                }
                remote(base, request, body).await?
            }
            Self::Here(router) => here((**router).clone(), method, path, query, body).await?,
        };
        if status.is_success() { Ok(Answer { text }) } else { Err(problem(status, &text)) }
    }
}

async fn remote(
    base: &Url,
    mut request: reqwest::RequestBuilder,
    body: Option<&Value>,
) -> Result<(StatusCode, String), CommandError> {
    if let Some(body) = body {
        request = request.json(body);
    }
    let response = request.send().await.map_err(|e| unreachable(base, &e))?;
    let status = response.status();
    let text = response.text().await.map_err(|e| unreachable(base, &e))?;
    Ok((status, text))
}

async fn here(
    router: Router,
    method: Method,
    path: &[&str],
    query: &[(&str, String)],
    body: Option<&Value>,
) -> Result<(StatusCode, String), CommandError> {
    let internal = |e: &dyn std::error::Error| CommandError::from(Failure::new(codes::INTERNAL, e.to_string()));
    let base = Url::parse("http://localhost").map_err(|e| internal(&e))?;
    let url = address(base, path, query);
    let request = axum::http::Request::builder().method(method).uri(url.as_str());
    let request = match body {
        Some(body) => request.header("content-type", "application/json").body(Body::from(body.to_string())),
        None => request.body(Body::empty()),
    };
    // A router never fails by itself.
    let Ok(response) = router.oneshot(request.map_err(|e| internal(&e))?).await;
    let status = response.status();
    let bytes = to_bytes(response.into_body(), usize::MAX).await.map_err(|e| internal(&e))?;
    Ok((status, String::from_utf8_lossy(&bytes).into_owned()))
}

/// `path` below `base`, whatever characters it has.
fn address(mut base: Url, path: &[&str], query: &[(&str, String)]) -> Url {
    // An http URL always has a path.
    if let Ok(mut segments) = base.path_segments_mut() {
        segments.pop_if_empty().push("v1").extend(path);
    }
    if !query.is_empty() {
        base.query_pairs_mut().extend_pairs(query);
    }
    base
}

fn unreachable(base: &Url, error: &reqwest::Error) -> CommandError {
    if let Some(tls) = tls_error(error) {
        let message = format!("the server at {base} can't be reached: no agreement on TLS: {tls}");
        return CommandError::new(Exit::Unreachable, Failure::new(codes::STORE_UNAVAILABLE, message)).hint(
            "check --url or AOS_URL; the authority of a certificate of your own is trusted when SSL_CERT_FILE names it",
        );
    }
    let why = if error.is_connect() {
        "nothing answers there"
    } else if error.is_timeout() {
        "it took too long to answer"
    } else {
        "the connection broke off"
    };
    let failure = Failure::new(codes::STORE_UNAVAILABLE, format!("the server at {} can't be reached: {why}", base));
    CommandError::new(Exit::Unreachable, failure)
        .hint("start one with `aos-server`, name another with --url or AOS_URL, or use its database with --db FILE|URL")
}

/// What was wrong with TLS, if that it was.
fn tls_error(error: &reqwest::Error) -> Option<&rustls::Error> {
    let mut next = std::error::Error::source(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // An I/O error's source is that of what it holds, which is passed over so.
        let held = error.downcast_ref().and_then(std::io::Error::get_ref);
        next = held.map_or_else(|| error.source(), |held| Some(held as _));
    }
    None
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
    if status == StatusCode::UNAUTHORIZED {
        return error.hint("set AOS_API_KEY to a key of this server, or use its database with --db FILE|URL");
    }
    match document["action"].as_str() {
        Some(action) => error.hint(action),
        None => error,
    }
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
