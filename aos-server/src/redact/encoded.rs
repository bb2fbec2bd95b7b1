//! Secrets in an encoding: base64 in both alphabets, hex, percent, and the `\u` of JSON. A piece of text that has one
//! when it is decoded goes as a whole.

use std::borrow::Cow;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use regex::{Captures, Regex};

use super::{REDACTED, compiled};
use crate::hex;

/// An encoding: what a text of it looks like, and how it is read.
struct Encoding {
    /// Without this in it, a text has nothing in this encoding.
    sign: &'static str,
    looks: Regex,
    read: fn(&str) -> Option<Vec<u8>>,
}

static ENCODINGS: LazyLock<[Encoding; 4]> = LazyLock::new(|| {
    [
        Encoding {
            sign: "%",
            looks: compiled(
                r"(?:[0-9A-Za-z_.~+*-]|%[0-9A-Fa-f]{2})*%[0-9A-Fa-f]{2}(?:[0-9A-Za-z_.~+*-]|%[0-9A-Fa-f]{2})*",
            ),
            read: percent,
        },
        Encoding {
            sign: "\\u",
            looks: compiled(
                r"(?:[0-9A-Za-z_.~/+=:@-]|\\+u[0-9A-Fa-f]{4})*\\+u[0-9A-Fa-f]{4}(?:[0-9A-Za-z_.~/+=:@-]|\\+u[0-9A-Fa-f]{4})*",
            ),
            read: escapes,
        },
        Encoding { sign: "", looks: compiled(r"\b(?:[0-9A-Fa-f]{2}){8,}\b"), read: hex::decode },
        Encoding { sign: "", looks: compiled(r"[A-Za-z0-9+/_-]{16,}={0,2}"), read: base64 },
    ]
});

/// The text without the pieces in which `is_secret` finds something once they are decoded.
pub(super) fn text<'a>(text: &'a str, is_secret: &dyn Fn(&str) -> bool) -> Cow<'a, str> {
    let mut clean = Cow::Borrowed(text);
    for encoding in ENCODINGS.iter().filter(|encoding| text.contains(encoding.sign)) {
        let hides = |piece: &str| {
            let decoded = (encoding.read)(piece).and_then(|bytes| String::from_utf8(bytes).ok());
            decoded.is_some_and(|decoded| is_secret(&decoded))
        };
        let is_found = encoding.looks.find_iter(&clean).any(|piece| hides(piece.as_str()));
        if is_found {
            let replace =
                |piece: &Captures<'_>| if hides(&piece[0]) { REDACTED.to_owned() } else { piece[0].to_owned() };
            clean = Cow::Owned(encoding.looks.replace_all(&clean, replace).into_owned());
        }
    }
    clean
}

fn base64(piece: &str) -> Option<Vec<u8>> {
    let piece = piece.trim_end_matches('=');
    STANDARD_NO_PAD.decode(piece).or_else(|_| URL_SAFE_NO_PAD.decode(piece)).ok()
}

fn percent(piece: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(piece.len());
    let mut rest = piece;
    while let Some((plain, after)) = rest.split_once('%') {
        bytes.extend_from_slice(plain.as_bytes());
        bytes.extend(hex::decode(after.get(..2)?)?);
        rest = &after[2..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    Some(bytes)
}

fn escapes(piece: &str) -> Option<Vec<u8>> {
    let mut units = Vec::with_capacity(piece.len());
    let mut rest = piece;
    while let Some((plain, after)) = rest.split_once('\\') {
        units.extend(plain.encode_utf16());
        let after = after.trim_start_matches('\\').strip_prefix('u')?;
        units.push(u16::from_str_radix(after.get(..4)?, 16).ok()?);
        rest = &after[4..];
    }
    units.extend(rest.encode_utf16());
    String::from_utf16(&units).ok().map(String::into_bytes)
}
