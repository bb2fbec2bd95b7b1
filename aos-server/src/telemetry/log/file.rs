//! The log file, which others may rename or delete at any moment: `logrotate` does.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file that is appended to under its path: when the path leads elsewhere, the file there is opened or created.
pub struct LogFile {
    path: PathBuf,
    file: File,
}

impl LogFile {
    /// Opens the file, creating it where there is none.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: append(path)? })
    }

    /// Whether the path leads to another file now, or to none.
    #[cfg(unix)]
    fn moved(&self) -> bool {
        use std::os::unix::fs::MetadataExt;
        let place = |of: io::Result<std::fs::Metadata>| of.ok().map(|of| (of.dev(), of.ino()));
        place(std::fs::metadata(&self.path)) != place(self.file.metadata())
    }

    /// An open file can't be moved here.
    #[cfg(not(unix))]
    fn moved(&self) -> bool {
        false
    }
}

impl Write for LogFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // A line too many in the old file is better than none.
        if self.moved()
            && let Ok(file) = append(&self.path)
        {
            self.file = file;
        }
        self.file.write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn goes_on_in_a_new_file_after_the_old_one_was_renamed_or_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let (path, rotated) = (dir.path().join("backend.log"), dir.path().join("backend.log.1"));
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        let mut log = LogFile::open(&path).unwrap();
        log.write_all(b"one\n").unwrap();
        std::fs::rename(&path, &rotated).unwrap();
        log.write_all(b"two\n").unwrap();
        assert_eq!((read(&rotated).as_str(), read(&path).as_str()), ("one\n", "two\n"));
        std::fs::remove_file(&path).unwrap();
        log.write_all(b"three\n").unwrap();
        assert_eq!(read(&path), "three\n");
    }

    #[test]
    fn goes_on_in_the_old_file_while_there_can_be_no_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let (here, away) = (dir.path().join("logs"), dir.path().join("away"));
        std::fs::create_dir(&here).unwrap();
        let mut log = LogFile::open(&here.join("backend.log")).unwrap();
        std::fs::rename(&here, &away).unwrap();
        log.write_all(b"one\n").unwrap();
        assert_eq!(std::fs::read_to_string(away.join("backend.log")).unwrap(), "one\n");
    }
}
