//! A process whose clock is wrong.

use std::io;
use std::path::PathBuf;
use std::process::Command;

use super::install::ensure;

/// Has the program that `command` starts believe that it is earlier or later by `offset` (`+1h`, `-90m`, `+2d`). Its
/// timers are not touched: the monotonic clock goes as it does.
///
/// # Errors
/// A `libfaketime` that is not there and can't be installed.
pub fn wrong_clock<'a>(command: &'a mut Command, offset: &str) -> io::Result<&'a mut Command> {
    let library = ensure(&["libfaketime"], library)?;
    let command = command.env("LD_PRELOAD", library).env("FAKETIME", offset);
    Ok(command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1"))
}

/// The variant for programs with threads, where Debian has it for each architecture.
fn library() -> Option<PathBuf> {
    let name = "faketime/libfaketimeMT.so.1";
    let architectures = std::fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path());
    std::iter::once(PathBuf::from("/usr/lib"))
        .chain(architectures)
        .map(|path| path.join(name))
        .find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_believes_another_hour() {
        let seconds = |offset| {
            let mut date = Command::new("date");
            let output = wrong_clock(date.arg("+%s"), offset).unwrap().output().unwrap();
            String::from_utf8(output.stdout).unwrap().trim().parse::<u64>().unwrap()
        };
        let (now, later) = (seconds("+0"), seconds("+1h"));
        assert!((3_600..3_900).contains(&(later - now)), "{}", later - now);
    }
}
