//! A text that must not be printed.

use std::fmt;

/// A secret: an API key, a password. `Debug` and `Display` print `[redacted]`, it has no wire form, and the only
/// way to the text is [`Secret::expose`], which is easy to search for.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// Takes a text into custody.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The text, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_prints_as_redacted() {
        let secret = Secret::new("sk-ant-12345");
        assert_eq!(format!("{secret} {secret:?} {:#?}", Some(&secret)).matches("[redacted]").count(), 3);
        assert!(!format!("{secret} {secret:?} {:#?}", Some(&secret)).contains("12345"));
        assert_eq!(secret.expose(), "sk-ant-12345");
    }
}
