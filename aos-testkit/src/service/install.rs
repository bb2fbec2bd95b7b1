//! Finding a service's programs, and installing them when they are not there.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use super::run;

/// Where `find` sees a program once `packages` are installed.
pub(super) fn ensure(packages: &[&str], find: impl Fn() -> Option<PathBuf>) -> io::Result<PathBuf> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = find() {
        return Ok(found);
    }
    let advice = || io::Error::other(format!("install {} (the tests need them and found neither)", packages.join(" ")));
    if on_path("apt-get").is_none() || !is_root() {
        return Err(advice());
    }
    let mut install = apt_get();
    install.args(["install", "--no-install-recommends"]).args(packages);
    if run(&mut install).is_err() {
        // The package lists may be old or absent.
        run(apt_get().arg("update"))?;
        run(&mut install)?;
    }
    find().ok_or_else(advice)
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    // Another installation may be under way.
    command.args(["-y", "-q", "-o", "DPkg::Lock::Timeout=120"]).env("DEBIAN_FRONTEND", "noninteractive");
    // The programs are wanted, not a server of the whole machine: none is started in this run level.
    command.env("RUNLEVEL", "1");
    command
}

/// A program in one of the directories of `PATH`.
pub(super) fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|file| file.is_file())
}

/// A program that packages put where only root looks for it.
pub(super) fn installed(program: &str) -> Option<PathBuf> {
    on_path(program).or_else(|| Some(Path::new("/usr/sbin").join(program)).filter(|file| file.is_file()))
}

/// Whether this process may do anything.
pub(super) fn is_root() -> bool {
    std::os::unix::fs::MetadataExt::uid(&match Path::new("/proc/self").metadata() {
        Ok(metadata) => metadata,
        Err(_) => return false,
    }) == 0
}
