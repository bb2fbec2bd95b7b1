//! Bytes as hex digits.

use std::fmt::Write as _;

/// Two lower-case digits for each byte.
pub fn encode(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // A string never fails.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The bytes of a text that is nothing but pairs of digits.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    // Not `from_str_radix`, which takes a sign for part of a number.
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    text.as_bytes().chunks(2).map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encoded_is_decoded_and_nothing_else() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decode(&encode(&all)), Some(all));
        assert_eq!(decode("aBcD"), Some(vec![0xab, 0xcd]));
        for text in ["0", "+4", "-4", " 4", "4g", "é", "0x12"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
