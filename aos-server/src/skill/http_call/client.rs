//! The HTTP clients behind the skill, and the name resolution that lets them connect to allowed addresses only.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use aos_core::{BoxFuture, Failure, codes};
use reqwest::Client;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::Url;

use super::Guard;

/// A name service: every address of a name.
pub type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync>;

/// The machine's own name service.
pub(super) fn system_lookup() -> Lookup {
    Arc::new(|name| {
        Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect()) })
    })
}

/// The guard, and a client for every port on which it decides differently.
///
/// A resolver learns the name but not the port it is resolved for. So each port that the allow-list names has a
/// client, and with it a resolver, of its own; all other ports share one.
pub(super) struct Clients {
    pub(super) guard: Arc<Guard>,
    by_port: BTreeMap<u16, Client>,
    other: Client,
}

impl Clients {
    pub(super) fn new(guard: Guard, lookup: Lookup) -> Result<Self, Failure> {
        let guard = Arc::new(guard);
        let client = |port| client(Resolver { guard: Arc::clone(&guard), port, lookup: Arc::clone(&lookup) });
        let by_port = guard.ports().map(|port| Ok((port, client(Some(port))?))).collect::<Result<_, Failure>>()?;
        let other = client(None)?;
        Ok(Self { guard, by_port, other })
    }

    pub(super) fn for_url(&self, url: &Url) -> &Client {
        url.port_or_known_default().and_then(|port| self.by_port.get(&port)).unwrap_or(&self.other)
    }
}

fn client(resolver: Resolver) -> Result<Client, Failure> {
    Client::builder()
        // Redirects are followed by `exchange`, which judges each of them; a proxy would connect where we can't see.
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .referer(false)
        .dns_resolver(Arc::new(resolver))
        .connect_timeout(Duration::from_secs(10))
        .pool_idle_timeout(Duration::from_secs(30))
        .build()
        .map_err(|e| Failure::new(codes::HTTP_FAILED, format!("TLS can't be set up: {}", chain(&e))).retryable(false))
}

/// Gives only addresses that the guard lets through, so that a connection can't go anywhere else.
struct Resolver {
    guard: Arc<Guard>,
    port: Option<u16>,
    lookup: Lookup,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (guard, port) = (Arc::clone(&self.guard), self.port);
        let found = (self.lookup)(name.as_str().to_owned());
        Box::pin(async move {
            let mut blocked = None;
            let mut allowed = Vec::new();
            for address in found.await? {
                match guard.resolved(name.as_str(), address, port) {
                    Ok(()) => allowed.push(SocketAddr::new(address, 0)),
                    Err(why) => blocked = blocked.or(Some(why)),
                }
            }
            match blocked {
                Some(why) if allowed.is_empty() => Err(why.into()),
                _ if allowed.is_empty() => {
                    Err(io::Error::new(io::ErrorKind::NotFound, format!("{} has no address", name.as_str())).into())
                }
                _ => Ok(Box::new(allowed.into_iter()) as Addrs),
            }
        })
    }
}

/// An error and its causes on one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
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
