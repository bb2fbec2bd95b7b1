//! Whether any process works on the file, so that runs of a server that was killed go on as soon as it is back.
//!
//! A process that advances runs holds a shared lock on a file beside the database. The kernel takes the lock back
//! however the process ends, so whoever gets it exclusively knows that all workers are dead. Correctness rests on
//! epochs and deadlines, not on this: where files can't be locked, leases run out by themselves.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// That this process works on the file, as long as it is kept.
pub(super) struct Presence {
    file: File,
    alone: bool,
}

impl Presence {
    /// Takes the lock: exclusively when no other process works on the file. That keeps others waiting until
    /// [`Presence::share`].
    pub(super) fn enter(database: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(lock_file(database))?;
        let alone = match file.try_lock() {
            Ok(()) => true,
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) => {
                file.lock_shared()?;
                false
            }
        };
        Ok(Self { file, alone })
    }

    /// Whether no other process worked on the file at that moment.
    pub(super) fn is_alone(&self) -> bool {
        self.alone
    }

    /// Lets others work on the file too.
    pub(super) fn share(self) -> io::Result<Self> {
        if self.alone {
            // Given back first, because turning one kind of lock into the other is not portable. Who is faster in
            // between finds no lease of this process.
            self.file.unlock()?;
            self.file.lock_shared()?;
        }
        Ok(Self { alone: false, ..self })
    }
}

fn lock_file(database: &Path) -> PathBuf {
    let mut path = OsString::from(database);
    path.push(".lock");
    path.into()
}
