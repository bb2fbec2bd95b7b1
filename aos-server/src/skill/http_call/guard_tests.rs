//! Which addresses are let through.

use super::*;

fn judge(allow: &str, url: &str) -> Result<(), Blocked> {
    Guard::new(AllowList::parse(allow).unwrap()).url(&Url::parse(url).unwrap())
}

/// Spellings of hosts that are addresses off the public Internet.
pub(in super::super) const PRIVATE_HOSTS: &[&str] = &[
    // Loopback in every spelling that a URL knows.
    "127.0.0.1",
    "127.0.0.1.",
    "127.1",
    "127.0.1",
    "0x7f.0.0.1",
    "0x7f.1",
    "0x7F.0x0.0x0.0x1",
    "0177.0.0.1",
    "0177.1",
    "2130706433",
    "0x7f000001",
    "017700000001",
    "127.255.255.254",
    "127.0.0.0",
    "%31%32%37.0.0.1",
    "127%2e0%2e0%2e1",
    "１２７.０.０.１",
    "127。0。0。1",
    "⑫7.0.0.1",
    "0x7f.0x000001",
    "127.0x1",
    "127.00000.00000.00001",
    // This network, private, shared, link-local.
    "0.0.0.0",
    "0",
    "0x0",
    "0.1.2.3",
    "00.0",
    "10.0.0.1",
    "10.255.255.255",
    "0xa.0.0.1",
    "012.0.0.1",
    "167772161",
    "10.1",
    "100.64.0.1",
    "100.127.255.255",
    "100.100.100.200",
    "169.254.169.254",
    "169.254.0.0",
    "0xa9.0xfe.0xa9.0xfe",
    "0xa9fea9fe",
    "2852039166",
    "0251.0376.0251.0376",
    "169.254.43518",
    "172.16.0.1",
    "172.31.255.255",
    "172.1048577",
    "192.168.0.1",
    "192.168.257",
    "0xc0a80001",
    "3232235521",
    "168.63.129.16",
    // Reserved, documentation, multicast, broadcast.
    "192.0.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.9",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "0xffffffff",
    "4294967295",
    // IPv6: unspecified, loopback, compatible, mapped.
    "[::]",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[0000::0001]",
    "[::127.0.0.1]",
    "[::7f00:1]",
    "[::8.8.8.8]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::FFFF:7F00:0001]",
    "[0:0:0:0:0:ffff:127.0.0.1]",
    "[::ffff:10.0.0.1]",
    "[::ffff:169.254.169.254]",
    "[::ffff:a9fe:a9fe]",
    "[::ffff:0.0.0.0]",
    "[::ffff:192.168.1.1]",
    "[::ffff:0:127.0.0.1]",
    // NAT64, 6to4, Teredo, ISATAP.
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b::10.0.0.1]",
    "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b:1::1]",
    "[64:ff9b:1::8.8.8.8]",
    "[2002:7f00:1::]",
    "[2002:7f00:0001::1]",
    "[2002:a00:1::1]",
    "[2002:a9fe:a9fe::]",
    "[2002:808:808::1]",
    "[2001::1]",
    "[2001:0:4136:e378:8000:63bf:3fff:fdd2]",
    "[2001:10::1]",
    "[2001:20::1]",
    "[2607:f8b0::5efe:127.0.0.1]",
    "[2607:f8b0::200:5efe:10.0.0.1]",
    // Documentation, unique local, link-local, site-local, multicast, discard, segment routing.
    "[2001:db8::1]",
    "[3fff::1]",
    "[3fff:fff::1]",
    "[fc00::1]",
    "[fd00::1]",
    "[fd00:ec2::254]",
    "[fd20:ce::254]",
    "[fe80::1]",
    "[febf::1]",
    "[fec0::1]",
    "[ff02::1]",
    "[ff0e::1]",
    "[100::1]",
    "[5f00::1]",
    "[4000::1]",
    "[1fff::1]",
    "[8000::]",
];

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
fn there_are_enough_spellings() {
    assert!(PRIVATE_HOSTS.len() >= 100, "{}", PRIVATE_HOSTS.len());
}

#[test]
fn private_addresses_are_blocked_in_every_spelling() {
    for host in PRIVATE_HOSTS {
        for url in [format!("http://{host}/"), format!("https://{host}:8443/x?y=z"), format!("http:\\\\{host}\\x")] {
            let result = judge("", &url);
            assert!(matches!(result, Err(Blocked::Address { .. })), "{url}: {result:?}");
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
