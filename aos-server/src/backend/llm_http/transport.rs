//! One request and its answer, with a bound on every phase.

use std::error::Error;
use std::time::Duration;

use aos_core::time::Timestamp;
use aos_core::{Failure, codes};
use reqwest::header::{CONTENT_LENGTH, HeaderMap};
use reqwest::{Client, Request};
use tokio::time::Instant;
use tokio_util::bytes::Bytes;

use crate::clock;

/// No answer is larger than this.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// How much of an answer is read that is an error.
const MAX_ERROR_BYTES: usize = 64 * 1024;

/// How long a call waits for HTTP's end of an answer that is complete.
const LAST_MOMENT: Duration = Duration::from_millis(5);

/// How long that is waited for in the background.
const LAST_BYTES: Duration = Duration::from_secs(1);

/// How long each phase of an exchange may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until there is a connection, name resolution, proxy and TLS included.
    pub connect: Duration,
    /// From the request to the first byte of an answer that is streamed: a long prompt is read meanwhile.
    pub first_byte: Duration,
    /// Between two pieces of an answer, however small.
    pub idle: Duration,
    /// For an answer that is not streamed, from beginning to end.
    pub plain: Duration,
    /// For an answer that is streamed, from beginning to end.
    pub stream: Duration,
}

impl Default for Timeouts {
    /// The provider's own SDKs wait 10 minutes for an answer and an hour for the longest stream (2026-11-26).
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            first_byte: Duration::from_secs(300),
            idle: Duration::from_secs(90),
            plain: Duration::from_secs(600),
            stream: Duration::from_secs(3_600),
        }
    }
}

/// What went wrong on the way, whatever is spoken over it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Trouble {
    /// There was no connection: nothing was sent.
    NotSent(String),
    /// It broke off, before the answer or in it.
    BrokeOff(String),
    /// A phase took too long.
    Late(&'static str, Duration),
    /// The call's deadline came; before anything was sent, or not.
    Deadline {
        /// Whether it may have been sent.
        sent: bool,
    },
    /// The answer is larger than the bound in bytes.
    TooLarge(usize),
}

/// Connections to a provider. None is made before there is something to send.
pub(crate) struct Transport {
    client: Client,
    timeouts: Timeouts,
}

impl Transport {
    /// # Errors
    /// TLS that can't be set up on this machine.
    pub(crate) fn new(timeouts: Timeouts) -> Result<Self, Failure> {
        let client = Client::builder()
            // The key is for one place: a redirect could lead it to another.
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .connect_timeout(timeouts.connect)
            .tcp_keepalive(Duration::from_secs(60))
            .http2_keep_alive_interval(Duration::from_secs(30))
            .http2_keep_alive_timeout(Duration::from_secs(20))
            .pool_idle_timeout(Duration::from_secs(90))
            // Pieces of a stream would wait in a decompressor, and size bounds are simpler without one.
            .no_gzip()
            .no_deflate()
            .user_agent(concat!("aos-server/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| Failure::new(codes::INVALID_SETTING, format!("TLS can't be set up: {}", chain(&e))))?;
        Ok(Self { client, timeouts })
    }

    /// When an exchange has to be over that begins now.
    pub(crate) fn until(&self, streamed: bool, deadline: Option<Timestamp>) -> Result<Until, Trouble> {
        let longest = if streamed { self.timeouts.stream } else { self.timeouts.plain };
        let left = deadline.map(|deadline| deadline.since(clock::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Err(Trouble::Deadline { sent: false });
        }
        let by_deadline = left.is_some_and(|left| left < longest);
        let lasts = left.unwrap_or(longest).min(longest);
        Ok(Until { at: Instant::now() + lasts, by_deadline, lasts, streamed })
    }

    /// Sends a request and waits for the head of its answer, whatever the status.
    pub(crate) async fn send(&self, request: Request, until: Until) -> Result<Reply, Trouble> {
        let first_byte = if until.streamed { self.timeouts.first_byte } else { self.timeouts.plain };
        match until.within("first byte", first_byte, self.client.execute(request)).await? {
            Ok(response) => Ok(Reply { response, until, idle: self.timeouts.idle, read: 0 }),
            // A proxy that refuses to connect and TLS that fails are of this kind too.
            Err(e) if e.is_connect() || e.is_builder() => Err(Trouble::NotSent(chain(&e.without_url()))),
            Err(e) => Err(Trouble::BrokeOff(chain(&e.without_url()))),
        }
    }
}

/// The end of an exchange's time.
#[derive(Clone, Copy)]
pub(crate) struct Until {
    at: Instant,
    by_deadline: bool,
    lasts: Duration,
    streamed: bool,
}

impl Until {
    async fn within<T>(
        &self,
        phase: &'static str,
        longest: Duration,
        future: impl Future<Output = T>,
    ) -> Result<T, Trouble> {
        let phase_ends = Instant::now() + longest;
        match tokio::time::timeout_at(phase_ends.min(self.at), future).await {
            Ok(value) => Ok(value),
            Err(_) if phase_ends < self.at => Err(Trouble::Late(phase, longest)),
            Err(_) if self.by_deadline => Err(Trouble::Deadline { sent: true }),
            Err(_) => Err(Trouble::Late("answer", self.lasts)),
        }
    }
}

/// An answer whose head is there.
pub(crate) struct Reply {
    response: reqwest::Response,
    until: Until,
    idle: Duration,
    read: usize,
}

impl Reply {
    pub(crate) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// Whether the body is an event stream.
    pub(crate) fn is_stream(&self) -> bool {
        let media = self.headers().get(reqwest::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        media.is_some_and(|media| media.trim_start().to_ascii_lowercase().starts_with("text/event-stream"))
    }

    /// The next piece of the body; `None` at its end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, Trouble> {
        let chunk = self.until.within("next piece of the answer", self.idle, self.response.chunk()).await?;
        let chunk = chunk.map_err(|e| Trouble::BrokeOff(chain(&e.without_url())))?;
        self.read += chunk.as_ref().map_or(0, Bytes::len);
        if self.read > MAX_BYTES { Err(Trouble::TooLarge(MAX_BYTES)) } else { Ok(chunk) }
    }

    /// The whole body.
    pub(crate) async fn body(&mut self) -> Result<Vec<u8>, Trouble> {
        let length = self.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        // A length is a promise of the other side: it is believed within reason.
        let mut body = Vec::with_capacity(length.unwrap_or(0).min(1024 * 1024));
        while let Some(chunk) = self.chunk().await? {
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// As much of the body of an error as there is: trouble with it must not hide the error.
    pub(crate) async fn error_body(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        while let Ok(Some(chunk)) = self.chunk().await {
            body.extend_from_slice(&chunk);
            if body.len() >= MAX_ERROR_BYTES {
                body.truncate(MAX_ERROR_BYTES);
                break;
            }
        }
        body
    }

    /// Lets the connection be used again after the last piece that matters. HTTP's end of the answer is mostly there
    /// already; nobody waits for one that is not.
    pub(crate) async fn finish(mut self) {
        let mut rest = Box::pin(async move { while let Ok(Some(_)) = self.response.chunk().await {} });
        if tokio::time::timeout(LAST_MOMENT, &mut rest).await.is_err() {
            drop(tokio::spawn(tokio::time::timeout(LAST_BYTES, rest)));
        }
    }
}

/// An error and its causes on one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
