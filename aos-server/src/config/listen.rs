//! Where the server listens.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::config::reader::{Reader, boolean, integer};
use crate::config::table;

/// Where the server listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// The address.
    pub host: IpAddr,
    /// The port; 0 takes any free one.
    pub port: u16,
    /// How long a server goes on answering once it was asked to end.
    pub drain_delay: Option<Duration>,
    /// Who has to have an API key.
    pub access: Access,
}

/// Who has to have an API key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nobody: it is meant so, or the caller is at the data itself.
    Open,
    /// Everybody, as soon as there is any key: no other machine reaches the server.
    KeysIfAny,
    /// Everybody.
    Keys,
}

impl Listen {
    /// The address to bind.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.host, self.port)
    }

    pub(crate) fn read(reader: &mut Reader) -> Option<Self> {
        let host = reader.get(&table::HOST, host);
        let port = reader.get(&table::PORT, |text| u16::try_from(integer(0..=65_535)(text)?).ok());
        let drain_delay = reader.optional(&table::DRAIN_DELAY, integer(0..=300));
        let allow_insecure = reader.get(&table::ALLOW_INSECURE, boolean);
        let access = match (allow_insecure?, host?) {
            (true, _) => Access::Open,
            (false, host) if host.to_canonical().is_loopback() => Access::KeysIfAny,
            (false, _) => Access::Keys,
        };
        Some(Self { host: host?, port: port?, drain_delay: drain_delay?.map(Duration::from_secs), access })
    }
}

fn host(text: &str) -> Option<IpAddr> {
    if text.eq_ignore_ascii_case("localhost") {
        return Some(Ipv4Addr::LOCALHOST.into());
    }
    text.trim_start_matches('[').trim_end_matches(']').parse().ok()
}
