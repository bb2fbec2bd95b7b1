//! Version requirements as people write them: `http_call`, `http_call@^2`, `http_call@2.1.0`.

use std::fmt;
use std::str::FromStr;

use semver::{Version, VersionReq};

use crate::error::{Failure, codes};

/// A name and the versions of it that are acceptable.
///
/// | text | accepts |
/// |---|---|
/// | `http_call` | every release |
/// | `http_call@2.1.0` | exactly this version, pre-releases and build metadata included |
/// | `http_call@^2.1`, `@~2.1`, `@2`, `@>=1, <3`, `@*` | releases in the range, as Cargo reads it |
///
/// A pre-release (`2.0.0-rc.1`) is accepted only by a text that names one of the same `major.minor.patch`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    id: String,
    versions: Versions,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Versions {
    Any,
    Exact(Version),
    Range(VersionReq),
}

impl Requirement {
    /// The name that is required, not checked for being well-formed.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether `version` of the required name is acceptable.
    pub fn accepts(&self, version: &Version) -> bool {
        match &self.versions {
            Versions::Any => version.pre.is_empty(),
            Versions::Exact(exact) => exact == version,
            Versions::Range(range) => range.matches(version),
        }
    }

    /// Whether this is `id` at `version`, or accepts it.
    pub fn matches(&self, id: &str, version: &Version) -> bool {
        self.id == id && self.accepts(version)
    }
}

impl FromStr for Requirement {
    type Err = Failure;

    /// # Errors
    /// [`codes::INVALID_REQUEST`] when the part after `@` is neither a version nor a range.
    fn from_str(text: &str) -> Result<Self, Failure> {
        let shown: String = text.chars().take(120).collect();
        let error = |why: String| {
            Failure::new(
                codes::INVALID_REQUEST,
                format!("{shown:?} is not a requirement: {why}; expected id, id@1.2.3 or id@^1.2"),
            )
        };
        let (id, version) = text.split_once('@').map_or((text, None), |(id, version)| (id, Some(version)));
        if id.is_empty() {
            return Err(error("the name is missing".into()));
        }
        let versions = match version {
            None => Versions::Any,
            Some(version) => match (version.parse(), version.parse()) {
                (Ok(exact), _) => Versions::Exact(exact),
                (_, Ok(range)) => Versions::Range(range),
                (_, Err(why)) => return Err(error(why.to_string())),
            },
        };
        Ok(Self { id: id.into(), versions })
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.versions {
            Versions::Any => f.write_str(&self.id),
            Versions::Exact(version) => write!(f, "{}@{version}", self.id),
            Versions::Range(range) => write!(f, "{}@{range}", self.id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_the_table_says() {
        for (text, version, accepted) in [
            ("a", "1.0.0", true),
            ("a", "1.0.0-rc.1", false),
            ("a@*", "7.1.0", true),
            ("a@1.0.0", "1.0.0", true),
            ("a@1.0.0", "1.0.1", false),
            ("a@1.0.0-rc.1", "1.0.0-rc.1", true),
            ("a@1.0.0-rc.1", "1.0.0", false),
            ("a@1.0.0+b", "1.0.0+b", true),
            ("a@1.0.0+b", "1.0.0", false),
            ("a@^1.2", "1.9.0", true),
            ("a@^1.2", "1.1.9", false),
            ("a@^1.2", "2.0.0", false),
            ("a@1", "1.5.0", true),
            ("a@~1.2", "1.3.0", false),
            ("a@^0.2", "0.3.0", false),
            ("a@>=1, <3", "2.9.9", true),
            ("a@=1.2.3", "1.2.4", false),
            ("a@^2.0.0-rc.1", "2.0.0-rc.2", true),
        ] {
            let requirement: Requirement = text.parse().unwrap();
            assert_eq!(requirement.accepts(&version.parse().unwrap()), accepted, "{text} and {version}");
            assert!(!requirement.matches("b", &version.parse().unwrap()));
        }
    }

    #[test]
    fn malformed_texts_say_what_is_expected() {
        for text in ["", "@1", "a@", "a@latest", "a@1.2.3.4", "a@1@2", "a@^^1", &format!("a@{}", "9".repeat(300))] {
            let failure = text.parse::<Requirement>().unwrap_err();
            assert_eq!(failure.code, codes::INVALID_REQUEST, "{text}");
            assert!(failure.message.contains("id@^1.2") && failure.message.len() < 400, "{}", failure.message);
        }
    }
}
