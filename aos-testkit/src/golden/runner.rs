//! One test per golden file.

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};

use super::Suite;

/// Where a test target stands, as Cargo told the compiler. Filled in by [`golden_tests!`](crate::golden_tests).
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// `CARGO_MANIFEST_DIR`.
    pub directory: &'static str,
    /// `CARGO_PKG_NAME`.
    pub package: &'static str,
    /// `CARGO_CRATE_NAME`: the test target.
    pub target: &'static str,
}

/// What the environment asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Verify,
    Bless,
    /// Blessing was asked for where it is refused.
    Refused,
}

impl Mode {
    fn of(bless: Option<&str>, ci: Option<&str>) -> Self {
        let on = |value: Option<&str>| value.is_some_and(|value| !matches!(value, "" | "0" | "false"));
        match (on(bless), on(ci)) {
            (false, _) => Self::Verify,
            (true, false) => Self::Bless,
            (true, true) => Self::Refused,
        }
    }
}

/// Runs the golden tests of one test target; what [`golden_tests!`](crate::golden_tests) calls.
pub fn run(place: &Place, pattern: &str, suite: Suite) -> ExitCode {
    let arguments = Arguments::from_args();
    let variable = |name| env::var(name).ok();
    let mode = Mode::of(variable("AOS_BLESS").as_deref(), variable("CI").as_deref());
    let colour = anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never;
    let suite = Arc::new(suite);
    let place = *place;
    let mut trials: Vec<_> = files(place.directory, pattern)
        .into_iter()
        .map(|file| {
            let (suite, name) = (Arc::clone(&suite), name(&file));
            let test = name.clone();
            Trial::test(name, move || test_file(&suite, &file, mode, colour, &command(&place, &test)))
        })
        .collect();
    if trials.is_empty() {
        // A pattern with a mistake in it must not pass for a suite that holds.
        let why = format!("no file matches {pattern:?} in {}", place.directory);
        trials.push(Trial::test("golden_files", move || Err(Failed::from(why))));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn files(directory: &str, pattern: &str) -> Vec<PathBuf> {
    let pattern = format!("{}/{pattern}", glob::Pattern::escape(directory));
    let mut files: Vec<_> = glob::glob(&pattern).into_iter().flatten().filter_map(Result::ok).collect();
    files.sort();
    files
}

fn name(file: &Path) -> String {
    file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// The command that accepts what the test complains about.
fn command(place: &Place, test: &str) -> String {
    format!("AOS_BLESS=1 cargo test -p {} --test {} -- --exact {test}", place.package, place.target)
}

fn test_file(suite: &Suite, file: &Path, mode: Mode, colour: bool, command: &str) -> Result<(), Failed> {
    let Err(mismatch) = suite.verify(file) else { return Ok(()) };
    let advice = match (mode, mismatch.can_be_blessed()) {
        (_, false) => "restore the file from version control, or record it again".to_owned(),
        (Mode::Verify, true) => format!("if that is what you meant, accept it with\n  {command}"),
        (Mode::Refused, true) => "AOS_BLESS is refused because CI is set: bless on your machine and commit".to_owned(),
        (Mode::Bless, true) => {
            return suite.bless(file).map(|_| ()).map_err(|mismatch| mismatch.report(colour).into());
        }
    };
    Err(format!("{}{advice}\n", mismatch.report(colour)).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blessing_is_on_purpose_and_never_in_ci() {
        for (bless, ci, mode) in [
            (None, None, Mode::Verify),
            (Some("0"), None, Mode::Verify),
            (Some(""), Some("true"), Mode::Verify),
            (Some("1"), None, Mode::Bless),
            (Some("1"), Some("false"), Mode::Bless),
            (Some("1"), Some("true"), Mode::Refused),
            (None, Some("1"), Mode::Verify),
        ] {
            assert_eq!(Mode::of(bless, ci), mode, "{bless:?} {ci:?}");
        }
    }

    #[test]
    fn the_command_names_one_test() {
        let place = Place { directory: "/x", package: "shop", target: "golden" };
        assert_eq!(command(&place, "order_saga"), "AOS_BLESS=1 cargo test -p shop --test golden -- --exact order_saga");
    }
}
