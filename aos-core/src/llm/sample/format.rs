//! Texts of the formats that JSON Schema names.

use crate::random::Rng;

/// Makes a text of a format; `None` for a format that has no rules here and so allows any text.
///
/// Names are of `example.com` and addresses of the ranges kept for documentation, so that a made-up answer never
/// leads anywhere.
pub(super) fn make(name: &str, rng: &mut Rng) -> Option<String> {
    let mut n = |bound: u64| rng.below(bound);
    Some(match name {
        "date" => format!("{}-{:02}-{:02}", 2020 + n(10), 1 + n(12), 1 + n(28)),
        "time" => format!("{:02}:{:02}:{:02}Z", n(24), n(60), n(60)),
        "date-time" => {
            let date = (2020 + n(10), 1 + n(12), 1 + n(28));
            format!("{}-{:02}-{:02}T{:02}:{:02}:{:02}Z", date.0, date.1, date.2, n(24), n(60), n(60))
        }
        "duration" => format!("PT{}M", 1 + n(90)),
        "email" | "idn-email" => format!("user{}@example.com", n(1_000)),
        "hostname" | "idn-hostname" => format!("host{}.example.com", n(1_000)),
        "ipv4" => format!("192.0.2.{}", 1 + n(254)),
        "ipv6" => format!("2001:db8::{:x}", 1 + n(0xfffe)),
        "uri" | "iri" | "uri-reference" | "iri-reference" | "url" => format!("https://example.com/{}", n(1_000)),
        "uri-template" => format!("https://example.com/{}/{{id}}", n(1_000)),
        // Version 4, variant 1, as a random one has them.
        "uuid" => {
            format!("{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}", n(1 << 32), n(1 << 16), n(1 << 12), n(1 << 12), n(1 << 48))
        }
        "json-pointer" => format!("/item/{}", n(100)),
        "relative-json-pointer" => format!("{}/item", n(10)),
        "regex" => format!("^[a-z]{{1,{}}}$", 1 + n(9)),
        _ => return None,
    })
}

/// Whether `text` is of a format, as strictly as [`make`] makes them; `true` for a format without rules here.
pub(super) fn valid(name: &str, text: &str) -> bool {
    let digits = |text: &str, n: usize| text.len() == n && text.bytes().all(|b| b.is_ascii_digit());
    let number = |text: &str| text.parse::<u32>().unwrap_or(u32::MAX);
    let word = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.+".contains(&b));
    match name {
        "date" => match text.split('-').collect::<Vec<_>>()[..] {
            [y, m, d] => {
                digits(y, 4) && digits(m, 2) && digits(d, 2) && (1..=days(number(y), number(m))).contains(&number(d))
            }
            _ => false,
        },
        "time" => match text.strip_suffix('Z').map(|t| t.split(':').collect::<Vec<_>>()).as_deref() {
            Some([h, m, s]) => [(h, 24), (m, 60), (s, 60)].iter().all(|(t, most)| digits(t, 2) && number(t) < *most),
            _ => false,
        },
        "date-time" => text.split_once('T').is_some_and(|(date, time)| valid("date", date) && valid("time", time)),
        "duration" => text.strip_prefix("PT").and_then(|t| t.strip_suffix('M')).is_some_and(|t| number(t) < 1_000),
        "email" | "idn-email" => text
            .split_once('@')
            .is_some_and(|(user, host)| word(user) && !user.contains("..") && valid("hostname", host)),
        "hostname" | "idn-hostname" => text.split('.').all(|label| {
            !label.is_empty()
                && label.len() < 64
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        }),
        "ipv4" => text.parse::<std::net::Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<std::net::Ipv6Addr>().is_ok(),
        "uri" | "iri" | "uri-reference" | "iri-reference" | "url" => {
            text.strip_prefix("https://").is_some_and(|rest| word(&rest.replace('/', ".")) && !rest.starts_with('/'))
        }
        "uri-template" => text.strip_suffix("/{id}").is_some_and(|text| valid("uri", text)),
        "uuid" => {
            let parts: Vec<&str> = text.split('-').collect();
            parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12])
                && parts.iter().all(|part| part.bytes().all(|b| b.is_ascii_hexdigit()))
        }
        "json-pointer" => text.starts_with('/') && word(&text.replace('/', ".")),
        "relative-json-pointer" => text.split_once('/').is_some_and(|(n, rest)| digits(n, 1) && word(rest)),
        "regex" => super::pattern::Pattern::parse(text).is_ok(),
        _ => true,
    }
}

fn days(year: u32, month: u32) -> u32 {
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Seed;

    const ALL: [&str; 17] = [
        "date",
        "time",
        "date-time",
        "duration",
        "email",
        "idn-email",
        "hostname",
        "idn-hostname",
        "ipv4",
        "ipv6",
        "uri",
        "uri-reference",
        "uri-template",
        "uuid",
        "json-pointer",
        "relative-json-pointer",
        "regex",
    ];

    #[test]
    fn makes_what_it_takes() {
        for name in ALL {
            for seed in 0..100 {
                let text = make(name, &mut Rng::new(Seed::new(seed), name)).unwrap();
                assert!(valid(name, &text), "{name} {text}");
            }
            assert!(!valid(name, "not one ("), "{name}");
        }
        assert_eq!(make("colour", &mut Rng::new(Seed::new(1), "")), None);
    }
}
