//! A server at work, and how it ends.

use std::future::Future;
use std::time::Duration;

use aos_core::{Failure, codes};
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Role, TlsListener};
use crate::http;
use crate::state::AppState;

/// How long calls may take that nobody waits for any more; what they have cost is not known before they end.
const LAST_CALLS: Duration = Duration::from_secs(5);

/// How long open requests may take once the process is about to end.
pub const LAST_REQUESTS: Duration = Duration::from_secs(5);

/// A server at work.
pub struct Running {
    pub(super) state: AppState,
    pub(super) role: Role,
    pub(super) worker: JoinHandle<()>,
    pub(super) background: Vec<JoinHandle<()>>,
    pub(super) done: CancellationToken,
}

/// Where requests come from.
pub enum Socket {
    /// As they are.
    Plain(TcpListener),
    /// Encrypted.
    Tls(TlsListener),
}

impl From<TcpListener> for Socket {
    fn from(listener: TcpListener) -> Self {
        Self::Plain(listener)
    }
}

impl Running {
    /// What the handlers share.
    pub fn state(&self) -> &AppState {
        &self.state
    }

    /// Answers requests on `socket` until `shutdown` resolves, and then ends in order. For the time `leave_after` the
    /// server says that it is not ready, and does everything as before. Then it claims nothing more, runs in hand come
    /// to an end or are given back, open requests are answered, ended runs are replayed.
    ///
    /// # Errors
    /// A socket that fails.
    pub async fn serve(
        self,
        socket: impl Into<Socket>,
        leave_after: Duration,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), Failure> {
        let router = match self.role {
            Role::Serve => http::router(self.state.clone()),
            Role::Worker => http::health_router(self.state.clone()),
        };
        let stopping = self.state.stopping.clone();
        let stopped = stopping.cancelled_owned();
        let mut serving = match socket.into() {
            Socket::Plain(listener) => {
                let listener = listener.tap_io(|stream| {
                    // Answers are small and wait for nothing; without it they would wait for each other.
                    let _ = stream.set_nodelay(true);
                });
                tokio::spawn(axum::serve(listener, router).with_graceful_shutdown(stopped).into_future())
            }
            Socket::Tls(listener) => {
                tokio::spawn(axum::serve(listener, router).with_graceful_shutdown(stopped).into_future())
            }
        };
        let leaving = self.state.leaving.clone();
        let shutdown = async {
            shutdown.await;
            leaving.cancel();
            if !leave_after.is_zero() {
                tracing::info!(s = leave_after.as_secs(), "not ready from now on; answering a while longer");
            }
            tokio::time::sleep(leave_after).await;
        };
        let ended = tokio::select! {
            () = shutdown => None,
            ended = &mut serving => Some(ended),
        };
        tracing::info!("stopping: finishing runs in hand");
        self.stop().await;
        let ended = match ended {
            Some(ended) => ended,
            None => match tokio::time::timeout(LAST_REQUESTS, &mut serving).await {
                Ok(ended) => ended,
                Err(_) => {
                    tracing::warn!("open requests are broken off");
                    serving.abort();
                    return Ok(());
                }
            },
        };
        let failed = |why: String| Failure::new(codes::INTERNAL, format!("serving HTTP failed: {why}"));
        ended.map_err(|e| failed(e.to_string()))?.map_err(|e| failed(e.to_string()))
    }

    /// Ends the work in order; requests that wait for something are answered with what there is.
    pub async fn stop(self) {
        self.state.worker.stop();
        if self.worker.await.is_err() {
            tracing::error!("the worker panicked");
        }
        self.state.stopping.cancel();
        self.state.calls.close();
        if tokio::time::timeout(LAST_CALLS, self.state.calls.wait()).await.is_err() {
            tracing::warn!("calls of models are under way still: each counts as the most that it can have cost");
        }
        self.done.cancel();
        for task in self.background {
            if task.await.is_err() {
                tracing::error!("a background task panicked");
            }
        }
    }
}
