//! What may be reached although it is not public: hosts, host:port pairs and ranges of addresses.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use url::Host;

/// What an operator opens for `http_call` beyond public addresses. The default opens nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowList(Vec<Entry>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    what: What,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    /// This name, whatever it resolves to: the operator vouches for it.
    Name(String),
    /// Every name that ends in this, which starts with a dot.
    Suffix(String),
    /// Addresses, reached by literal or by name.
    Range(IpNet),
}

impl AllowList {
    /// Reads entries separated by commas or spaces: `name`, `*.name`, `name:port`, `address`, `address:port`,
    /// `[ipv6]:port`, `range/bits`.
    ///
    /// # Errors
    /// Which entry is none of these.
    pub fn parse(text: &str) -> Result<Self, String> {
        text.split([',', ' ', '\n', '\t'])
            .filter(|entry| !entry.is_empty())
            .map(|entry| parse_entry(entry).ok_or_else(|| explain(entry)))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether the name is vouched for on this port.
    pub(super) fn name(&self, name: &str, port: Option<u16>) -> bool {
        let name = name.trim_end_matches('.');
        self.0.iter().any(|entry| {
            entry.fits(port)
                && match &entry.what {
                    What::Name(known) => known == name,
                    What::Suffix(suffix) => name.len() > suffix.len() && name.ends_with(suffix.as_str()),
                    What::Range(_) => false,
                }
        })
    }

    /// Whether the address is opened on this port.
    pub(super) fn address(&self, address: IpAddr, port: Option<u16>) -> bool {
        self.0
            .iter()
            .any(|entry| entry.fits(port) && matches!(&entry.what, What::Range(range) if range.contains(&address)))
    }

    /// The ports that entries name: a decision depends on the port only for these.
    pub(super) fn ports(&self) -> BTreeSet<u16> {
        self.0.iter().filter_map(|entry| entry.port).collect()
    }
}

impl Entry {
    fn fits(&self, port: Option<u16>) -> bool {
        self.port.is_none() || self.port == port
    }
}

fn parse_entry(text: &str) -> Option<Entry> {
    if let Ok(range) = text.parse::<IpNet>() {
        return Some(Entry { what: What::Range(range.trunc()), port: None });
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(Entry { what: What::Range(address.into()), port: None });
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            (host, Some(port.parse::<u16>().ok().filter(|port| *port != 0)?))
        }
        _ => (text, None),
    };
    let suffix = host.strip_prefix("*.");
    match Host::parse(suffix.unwrap_or(host)).ok()? {
        Host::Domain(name) => {
            let name = name.trim_end_matches('.');
            let valid = !name.is_empty() && !name.contains('*');
            let what = if suffix.is_some() { What::Suffix(format!(".{name}")) } else { What::Name(name.to_owned()) };
            valid.then_some(Entry { what, port })
        }
        // `*.1.2.3.4` is nonsense, and an odd spelling of an address (`127.1`) is taken for what it means.
        Host::Ipv4(address) => suffix.is_none().then(|| Entry { what: What::Range(IpAddr::V4(address).into()), port }),
        Host::Ipv6(address) => suffix.is_none().then(|| Entry { what: What::Range(IpAddr::V6(address).into()), port }),
    }
}

fn explain(entry: &str) -> String {
    let short: String = entry.chars().take(80).collect();
    let hint = if entry.contains("://") { " (leave the scheme away)" } else { "" };
    format!("{short:?} is not a host, host:port, address or CIDR range{hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_open_what_they_name() {
        let list = AllowList::parse("api.internal, *.corp.example:8443 10.0.0.0/8,[::1]:9000,127.0.0.1:9000,fd00::/8")
            .unwrap();
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        for (name, port, expected) in [
            ("api.internal", Some(1), true),
            ("api.internal.", None, true),
            ("xapi.internal", None, false),
            ("a.api.internal", None, false),
            ("a.corp.example", Some(8443), true),
            ("a.b.corp.example", Some(8443), true),
            ("a.corp.example", Some(443), false),
            ("a.corp.example", None, false),
            ("corp.example", Some(8443), false),
            ("evilcorp.example", Some(8443), false),
        ] {
            assert_eq!(list.name(name, port), expected, "{name} {port:?}");
        }
        for (address, port, expected) in [
            ("10.255.0.1", None, true),
            ("11.0.0.1", None, false),
            ("127.0.0.1", Some(9000), true),
            ("127.0.0.1", Some(9001), false),
            ("127.0.0.1", None, false),
            ("::1", Some(9000), true),
            ("fd12::1", Some(80), true),
        ] {
            assert_eq!(list.address(ip(address), port), expected, "{address} {port:?}");
        }
        assert_eq!(list.ports(), BTreeSet::from([8443, 9000]));
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        for bad in
            ["10.0.0.0/33", "host:0", "host:99999", "host:x", "http://host", "*.1.2.3.4", "*", "a b:!", "[::1", "*.*.x"]
        {
            let error = AllowList::parse(bad).unwrap_err();
            assert!(error.contains("is not a host"), "{bad}: {error}");
        }
        assert_eq!(AllowList::parse(" , ").unwrap(), AllowList::default());
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(10_000))]

        #[test]
        fn any_text_is_read_or_named(text in "[a-z0-9.:/*\\[\\], -]{0,24}|\\PC{0,24}") {
            match AllowList::parse(&text) {
                // What is read opens nothing that it doesn't name.
                Ok(list) => assert!(!list.name("unrelated.invalid", None) || text.contains("invalid"), "{text}"),
                Err(why) => assert!(why.contains("is not a host"), "{text}: {why}"),
            }
        }
    }
}
