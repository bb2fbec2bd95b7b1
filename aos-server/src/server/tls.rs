//! TLS for those who call: a certificate from files, which are read again when they change.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use aos_core::{Failure, codes};
use axum::serve::Listener;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::task::AbortOnDropHandle;

use crate::config::CertificateFiles;

/// How long a caller may take to shake hands.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Callers that shake hands at one time; others wait to be accepted.
const MAX_HANDSHAKES: usize = 1_024;

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The certificate as it stands.
struct Current(RwLock<Arc<CertifiedKey>>);

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Current(…)")
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// A listener whose connections are encrypted.
pub struct TlsListener {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
    handshakes: JoinSet<Option<(TlsStream<TcpStream>, SocketAddr)>>,
    _following: AbortOnDropHandle<()>,
}

impl TlsListener {
    /// Encrypts what comes through `tcp`.
    ///
    /// # Errors
    /// [`codes::INVALID_SETTING`] for files that are no certificate with its key.
    pub fn new(tcp: TcpListener, files: CertificateFiles) -> Result<Self, Failure> {
        let wrong = |why: String| Failure::new(codes::INVALID_SETTING, why);
        let current = Arc::new(Current(RwLock::new(Arc::new(files.read().map_err(wrong)?))));
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| wrong(e.to_string()))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&current) as _);
        let following = tokio::spawn(follow(files, current));
        Ok(Self {
            tcp,
            acceptor: TlsAcceptor::from(Arc::new(config)),
            handshakes: JoinSet::new(),
            _following: AbortOnDropHandle::new(following),
        })
    }

    fn shake_hands(&mut self, stream: TcpStream, caller: SocketAddr) {
        // As without TLS: answers are small and wait for nothing.
        let _ = stream.set_nodelay(true);
        let accepting = self.acceptor.accept(stream);
        self.handshakes.spawn(async move {
            match tokio::time::timeout(HANDSHAKE, accepting).await {
                Ok(Ok(stream)) => Some((stream, caller)),
                Ok(Err(error)) => {
                    tracing::debug!(%caller, %error, "a caller did not agree on TLS");
                    None
                }
                Err(_) => {
                    tracing::debug!(%caller, "a caller took too long to agree on TLS");
                    None
                }
            }
        });
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let has_room = self.handshakes.len() < MAX_HANDSHAKES;
            tokio::select! {
                Some(done) = self.handshakes.join_next() => {
                    // A handshake that panicked is one that failed.
                    if let Ok(Some(connection)) = done {
                        return connection;
                    }
                }
                (stream, caller) = Listener::accept(&mut self.tcp), if has_room => self.shake_hands(stream, caller),
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

/// Reads the files again when they change. Ones that are wrong change nothing, and are told of once.
async fn follow(files: CertificateFiles, current: Arc<Current>) {
    let content = || (std::fs::read(&files.certificate).ok(), std::fs::read(&files.key).ok());
    let mut known = content();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let found = content();
        if found == known {
            continue;
        }
        known = found;
        match files.read() {
            Ok(key) => {
                *current.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
                tracing::info!(certificate = %files.certificate.display(), "the TLS certificate was replaced");
            }
            Err(why) => tracing::error!("the TLS certificate stays as it was: {why}"),
        }
    }
}
