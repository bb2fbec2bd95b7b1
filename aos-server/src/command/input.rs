//! Files and values that a person names on the command line.

use std::io::Read as _;
use std::path::Path;

use aos_core::{Failure, Payload, codes};

use super::ui::{CommandError, Exit};

/// No file that a command reads is meant to be larger.
const MAX_BYTES: u64 = 1 << 30;

/// Reads a text file, or standard input for `-`.
///
/// # Errors
/// What is wrong with it, by its path.
pub fn read_text(path: &Path) -> Result<String, CommandError> {
    let shown = if is_stdin(path) { "standard input".into() } else { path.display().to_string() };
    let bytes =
        read_bytes(path).map_err(|e| CommandError::usage(format!("{shown} can't be read: {e}")).hint(advice(&e)))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(CommandError::usage(format!("{shown} has more than {MAX_BYTES} bytes")));
    }
    String::from_utf8(bytes).map_err(|e| {
        let failure = Failure::new(
            codes::INVALID_JSON,
            format!("{shown} is not UTF-8 text: byte {} is wrong", e.utf8_error().valid_up_to()),
        );
        CommandError::new(Exit::Usage, failure)
    })
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn read_bytes(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if is_stdin(path) {
        std::io::stdin().lock().take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    } else {
        std::fs::File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

fn advice(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::NotFound => "check the path",
        std::io::ErrorKind::PermissionDenied => "check who may read it",
        std::io::ErrorKind::IsADirectory => "name a file in it",
        _ => "check the file",
    }
}

/// Reads a value given as JSON, `@file`, or `-` for standard input.
///
/// # Errors
/// A file that can't be read, or text that is not JSON, with line and column.
pub fn read_value(flag: &str, given: &str) -> Result<Payload, CommandError> {
    let (text, place) = match given.strip_prefix('@') {
        Some(path) => (read_text(Path::new(path))?, path.to_owned()),
        None if given == "-" => (read_text(Path::new("-"))?, "standard input".to_owned()),
        None => (given.to_owned(), flag.to_owned()),
    };
    Payload::parse(&text).map_err(|failure| {
        let failure = Failure { message: format!("{place}: {}", failure.message), ..failure };
        CommandError::new(Exit::Usage, failure)
            .hint(format!("give JSON, for example {flag} '{{\"key\": 1}}', or a file with {flag} @file.json"))
    })
}

/// Writes a file whole or not at all: a reader never sees a part of it.
///
/// # Errors
/// What went wrong, by the file's path.
pub fn write_file(path: &Path, text: &str) -> Result<(), CommandError> {
    let mut name = path.file_name().map(std::ffi::OsStr::to_owned).unwrap_or_default();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = std::fs::write(&temporary, text).and_then(|()| std::fs::rename(&temporary, path));
    written.map_err(|e| {
        // What is left of it is of no use; failing to remove it adds nothing to what went wrong.
        let _ = std::fs::remove_file(&temporary);
        CommandError::usage(format!("{} can't be written: {e}", path.display()))
            .hint("check the directory and who may write there")
    })
}
