//! Which addresses are let through.

use super::*;

fn judge(allow: &str, url: &str) -> Result<(), Blocked> {
    Guard::new(AllowList::parse(allow).unwrap()).url(&Url::parse(url).unwrap())
}

/// Hosts that are addresses off the public Internet, as URLs may spell them, with these addresses.
pub(in super::super) fn private_hosts() -> Vec<(&'static str, IpAddr)> {
    let rows = include_str!("tests/private_hosts.txt").lines().filter(|line| !line.starts_with('#'));
    let row = |line: &'static str| {
        let mut cells = line.split('\t');
        let (host, address) = (cells.next().unwrap(), cells.next().unwrap());
        (host, address.parse().unwrap_or_else(|e| panic!("{line}: {e}")))
    };
    rows.map(row).collect()
}

const PUBLIC_HOSTS: &[&str] = &[
    "8.8.8.8",
    "1.1.1.1",
    "134744072",
    "0x08080808",
    "9.255.255.255",
    "11.0.0.1",
    "100.63.255.255",
    "100.128.0.1",
    "126.0.0.1",
    "128.0.0.1",
    "168.63.129.15",
    "169.253.0.1",
    "169.255.0.1",
    "172.15.255.255",
    "172.32.0.1",
    "192.0.1.1",
    "192.167.255.255",
    "192.169.0.1",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "[2606:4700::1111]",
    "[2a00:1450:4001::200e]",
    "[2001:4860:4860::8888]",
    "[2001:200::1]",
    "[::ffff:8.8.8.8]",
    "[64:ff9b::8.8.8.8]",
    "[2003::1]",
    "[3ffe::1]",
    "[2607:f8b0::5efe:8.8.8.8]",
];

#[test]
fn private_addresses_are_blocked_in_every_spelling() {
    let rows = private_hosts();
    assert!(rows.len() >= 300, "{}", rows.len());
    for (host, expected) in rows {
        for url in [format!("http://{host}/"), format!("https://{host}:8443/x?y=z"), format!("http:\\\\{host}\\x")] {
            match judge("", &url) {
                Err(Blocked::Address { address, .. }) => assert_eq!(address, expected, "{url}"),
                other => panic!("{url}: {other:?}"),
            }
        }
    }
}

#[test]
fn public_addresses_pass_in_every_spelling() {
    for host in PUBLIC_HOSTS {
        assert_eq!(judge("", &format!("http://{host}/")), Ok(()), "{host}");
    }
}

#[test]
fn names_are_judged_by_what_they_resolve_to() {
    let guard = Guard::new(AllowList::parse("db.internal, *.corp:81, 10.0.0.0/8, 192.168.0.1:82").unwrap());
    for (name, address, port, passes) in [
        ("example.com", "93.184.215.14", None, true),
        ("example.com", "127.0.0.1", None, false),
        ("localhost", "::1", None, false),
        ("example.com", "10.1.2.3", None, true),
        ("example.com", "::ffff:10.1.2.3", None, true),
        ("example.com", "64:ff9b::10.1.2.3", None, true),
        ("db.internal", "127.0.0.1", None, true),
        ("x.db.internal", "127.0.0.1", None, false),
        ("x.corp", "127.0.0.1", Some(81), true),
        ("x.corp", "127.0.0.1", None, false),
        ("example.com", "192.168.0.1", Some(82), true),
        ("example.com", "192.168.0.1", Some(81), false),
    ] {
        let result = guard.resolved(name, address.parse().unwrap(), port);
        assert_eq!(result.is_ok(), passes, "{name} {address} {port:?}: {result:?}");
    }
}

#[test]
fn the_allow_list_opens_by_address_and_port() {
    for (allow, url, passes) in [
        ("127.0.0.1:9000", "http://127.0.0.1:9000/", true),
        ("127.0.0.1:9000", "http://0x7f.1:9000/", true),
        ("127.0.0.1:9000", "http://[::ffff:127.0.0.1]:9000/", true),
        ("127.0.0.1:9000", "http://127.0.0.1:9001/", false),
        ("127.0.0.1:9000", "http://127.0.0.2:9000/", false),
        ("127.0.0.1:80", "http://127.0.0.1/", true),
        ("127.0.0.1:80", "https://127.0.0.1/", false),
        ("[::1]:443", "https://[::1]/", true),
        ("127.0.0.0/8", "http://127.9.9.9:1/", true),
        ("fc00::/7", "http://[fd00::1]/", true),
        ("fc00::/7", "http://[fe80::1]/", false),
        ("localhost", "http://127.0.0.1/", false),
    ] {
        assert_eq!(judge(allow, url).is_ok(), passes, "{allow} {url}");
    }
}

#[test]
fn only_plain_http_urls_pass() {
    for (url, expected) in [
        ("ftp://example.com/", Blocked::Scheme("ftp".into())),
        ("file:///etc/passwd", Blocked::Scheme("file".into())),
        ("gopher://8.8.8.8/_x", Blocked::Scheme("gopher".into())),
        ("data:text/plain,x", Blocked::Scheme("data".into())),
        ("unix:/run/docker.sock", Blocked::Scheme("unix".into())),
        ("ws://example.com/", Blocked::Scheme("ws".into())),
        ("http://user@example.com/", Blocked::Credentials),
        ("http://:secret@example.com/", Blocked::Credentials),
        ("http://8.8.8.8@127.0.0.1/", Blocked::Credentials),
    ] {
        assert_eq!(judge("", url), Err(expected), "{url}");
    }
}

proptest::proptest! {
    #[test]
    fn an_ipv4_address_and_its_translated_forms_are_judged_alike(bits: u32) {
        let v4 = Ipv4Addr::from(bits);
        let [a, b, c, d] = v4.octets();
        let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let public = is_public(v4.into());
        assert_eq!(public, is_public(v4.to_ipv6_mapped().into()));
        assert_eq!(public, is_public(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low).into()));
        assert!(!is_public(Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1).into()));
        for url in [format!("http://{bits}/"), format!("http://{bits:#x}/"), format!("http://0{bits:o}/"), format!("http://{v4}/")] {
            assert_eq!(judge("", &url).is_ok(), public, "{url}");
        }
    }

    #[test]
    fn what_the_standard_library_calls_special_is_not_public(bits: u128) {
        let v6 = Ipv6Addr::from(bits);
        let special = v6.is_loopback() || v6.is_multicast() || v6.is_unspecified() || v6.is_unique_local() || v6.is_unicast_link_local();
        assert!(!(special && is_public(v6.into())), "{v6}");
    }
}
