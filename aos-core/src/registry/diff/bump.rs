//! Which version a change needs.

use semver::{BuildMetadata, Prerelease, Version};

use super::Level;

/// The lowest release above `from` that may carry a change of this level, as Cargo reads version numbers: before
/// 1.0.0 the first part that is not zero counts as the major one.
pub fn next_version(from: &Version, level: Level) -> Version {
    let (major, minor, patch) = (from.major, from.minor, from.patch);
    let up = |part: u64| part.saturating_add(1);
    if !from.pre.is_empty() {
        // A pre-release promises nothing yet; its release may change everything.
        return Version::new(major, minor, patch);
    }
    match (major, minor, level) {
        (0, 0, _) => Version::new(0, 0, up(patch)),
        (0, _, Level::Breaking) => Version::new(0, up(minor), 0),
        (0, _, _) | (_, _, Level::Cosmetic) => Version::new(major, minor, up(patch)),
        (_, _, Level::Compatible) => Version::new(major, up(minor), 0),
        (_, _, Level::Breaking) => Version::new(up(major), 0, 0),
    }
}

/// Whether going from `from` to `to` says that there is a change of this level.
pub fn is_sufficient(from: &Version, to: &Version, level: Level) -> bool {
    if to <= from {
        return false;
    }
    if !from.pre.is_empty() {
        return true;
    }
    // A pre-release of 2.0.0 is above 1.x for this purpose, although it sorts below 2.0.0.
    let release = Version { pre: Prerelease::EMPTY, build: BuildMetadata::EMPTY, ..to.clone() };
    release >= next_version(from, level)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Level::{Breaking, Compatible, Cosmetic};

    #[test]
    fn names_the_next_version() {
        for (from, level, needed) in [
            ("1.2.3", Cosmetic, "1.2.4"),
            ("1.2.3", Compatible, "1.3.0"),
            ("1.2.3", Breaking, "2.0.0"),
            ("0.2.3", Cosmetic, "0.2.4"),
            ("0.2.3", Compatible, "0.2.4"),
            ("0.2.3", Breaking, "0.3.0"),
            ("0.0.3", Cosmetic, "0.0.4"),
            ("0.0.3", Breaking, "0.0.4"),
            ("2.0.0-rc.1", Breaking, "2.0.0"),
            ("18446744073709551615.0.0", Breaking, "18446744073709551615.0.0"),
        ] {
            assert_eq!(next_version(&from.parse().unwrap(), level).to_string(), needed, "{from} {level:?}");
        }
    }

    #[test]
    fn judges_version_numbers() {
        for (from, to, level, sufficient) in [
            ("1.2.3", "1.2.4", Cosmetic, true),
            ("1.2.3", "1.2.4", Compatible, false),
            ("1.2.3", "1.3.0", Compatible, true),
            ("1.2.3", "1.9.0", Breaking, false),
            ("1.2.3", "2.0.0", Breaking, true),
            ("1.2.3", "2.0.0-rc.1", Breaking, true),
            ("1.2.3", "1.2.3", Cosmetic, false),
            ("1.2.3", "1.2.2", Cosmetic, false),
            ("0.3.1", "0.3.2", Compatible, true),
            ("0.3.1", "0.3.2", Breaking, false),
            ("0.3.1", "0.4.0", Breaking, true),
            ("2.0.0-rc.1", "2.0.0-rc.2", Breaking, true),
            ("2.0.0-rc.2", "2.0.0-rc.1", Cosmetic, false),
        ] {
            let verdict = is_sufficient(&from.parse().unwrap(), &to.parse().unwrap(), level);
            assert_eq!(verdict, sufficient, "{from} to {to} {level:?}");
        }
    }
}
