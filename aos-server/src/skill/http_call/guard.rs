//! Who may be called: public addresses, and what the operator has opened. Pure: no name is looked up here.
//!
//! A URL is judged twice. [`Guard::url`] judges its form, and its host when that is an address, in whatever spelling:
//! the `url` crate has brought `0x7f.1`, `2130706433` or full-width digits into one form by then. A name is judged
//! by [`Guard::resolved`], on the addresses that a connection will really use.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

use super::AllowList;

/// Decides what may be reached.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    allow: AllowList,
}

/// Why something may not be reached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Blocked {
    /// Neither http nor https.
    #[error("the scheme {0:?} is not allowed: expected http or https")]
    Scheme(String),
    /// Name or password in the URL.
    #[error("the URL holds a user name or password: send them in a header instead")]
    Credentials,
    /// No host at all.
    #[error("the URL names no host")]
    NoHost,
    /// An address that is not public.
    #[error("{host} is {address}, which is not a public address")]
    Address {
        /// The host as the URL names it.
        host: String,
        /// The address it stands for.
        address: IpAddr,
    },
}

impl Guard {
    /// A guard that opens `allow` beyond public addresses.
    pub const fn new(allow: AllowList) -> Self {
        Self { allow }
    }

    /// Judges a URL's form, and its host when that is an address.
    ///
    /// # Errors
    /// Why it may not be requested.
    pub fn url(&self, url: &Url) -> Result<(), Blocked> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Blocked::Scheme(url.scheme().to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Blocked::Credentials);
        }
        let address = match url.host().ok_or(Blocked::NoHost)? {
            Host::Domain("") => return Err(Blocked::NoHost),
            Host::Domain(_) => return Ok(()),
            Host::Ipv4(address) => IpAddr::V4(address),
            Host::Ipv6(address) => IpAddr::V6(address),
        };
        if self.opens(address, url.port_or_known_default()) {
            return Ok(());
        }
        Err(Blocked::Address { host: url.host_str().unwrap_or_default().to_owned(), address })
    }

    /// Judges one address that `name` resolves to. `port` is `None` when the port is one that no entry names.
    ///
    /// # Errors
    /// [`Blocked::Address`].
    pub fn resolved(&self, name: &str, address: IpAddr, port: Option<u16>) -> Result<(), Blocked> {
        if self.allow.name(name, port) || self.opens(address, port) {
            return Ok(());
        }
        Err(Blocked::Address { host: name.to_owned(), address })
    }

    /// The ports on which decisions differ from those on other ports.
    pub(super) fn ports(&self) -> impl Iterator<Item = u16> + use<> {
        self.allow.ports().into_iter()
    }

    fn opens(&self, address: IpAddr, port: Option<u16>) -> bool {
        is_public(address) || self.allow.address(address, port) || self.allow.address(unwrapped(address), port)
    }
}

/// Whether an address belongs to a host on the public Internet.
///
/// IPv6 forms that carry an IPv4 address to be reached through a translator (IPv4-mapped, NAT64) are judged by that
/// address; forms of transition that nobody should need any more (6to4, Teredo, IPv4-compatible) are not public.
pub fn is_public(address: IpAddr) -> bool {
    match unwrapped(address) {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// The IPv4 address inside an IPv4-mapped or NAT64 address; any other address itself.
fn unwrapped(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    match v6.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => IpAddr::V4(join(high, low)),
        _ => address,
    }
}

fn join(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))
}

/// Special-purpose IPv4 ranges (IANA registry, RFC 6890 and successors), as first address and prefix length.
const SPECIAL_V4: &[(Ipv4Addr, u32)] = &[
    (Ipv4Addr::new(0, 0, 0, 0), 8),        // this network
    (Ipv4Addr::new(10, 0, 0, 0), 8),       // private
    (Ipv4Addr::new(100, 64, 0, 0), 10),    // shared between providers; some clouds' metadata
    (Ipv4Addr::new(127, 0, 0, 0), 8),      // loopback
    (Ipv4Addr::new(168, 63, 129, 16), 32), // a cloud's host agent, on a public-looking address
    (Ipv4Addr::new(169, 254, 0, 0), 16),   // link-local; most clouds' metadata
    (Ipv4Addr::new(172, 16, 0, 0), 12),    // private
    (Ipv4Addr::new(192, 0, 0, 0), 24),     // protocol assignments; one cloud's metadata
    (Ipv4Addr::new(192, 0, 2, 0), 24),     // documentation
    (Ipv4Addr::new(192, 88, 99, 0), 24),   // 6to4 relays
    (Ipv4Addr::new(192, 168, 0, 0), 16),   // private
    (Ipv4Addr::new(198, 18, 0, 0), 15),    // benchmarks
    (Ipv4Addr::new(198, 51, 100, 0), 24),  // documentation
    (Ipv4Addr::new(203, 0, 113, 0), 24),   // documentation
    (Ipv4Addr::new(224, 0, 0, 0), 4),      // multicast
    (Ipv4Addr::new(240, 0, 0, 0), 4),      // reserved, broadcast
];

fn is_public_v4(address: Ipv4Addr) -> bool {
    !SPECIAL_V4.iter().any(|(first, bits)| (u32::from(address) ^ u32::from(*first)) >> (32 - bits) == 0)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let s = address.segments();
    let global_unicast = s[0] & 0xe000 == 0x2000;
    let protocol = s[0] == 0x2001 && s[1] & 0xfe00 == 0; // Teredo, ORCHID, benchmarks
    let documentation = (s[0] == 0x2001 && s[1] == 0x0db8) || (s[0] == 0x3fff && s[1] & 0xf000 == 0);
    let six_to_four = s[0] == 0x2002;
    // ISATAP tunnels to the IPv4 address in its last 32 bits.
    let isatap = s[4] & 0xfdff == 0 && s[5] == 0x5efe;
    global_unicast && !protocol && !documentation && !six_to_four && (!isatap || is_public_v4(join(s[6], s[7])))
}

#[cfg(test)]
#[path = "guard_tests.rs"]
pub(super) mod tests;
