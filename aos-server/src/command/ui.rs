//! What a command says: results to standard output, everything else to standard error.

use std::io::{self, IsTerminal as _, Write};
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use aos_core::error::Category;
use aos_core::{Code, Failure, codes};
use serde::Serialize;
use serde_json::json;

use crate::cli::Format;

/// How a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// It went well, the answer is yes.
    Yes = 0,
    /// The answer is no.
    No = 1,
    /// Wrong usage or bad input.
    Usage = 2,
    /// The server can't be reached, or a store failed.
    Unreachable = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub struct CommandError {
    pub failure: Box<Failure>,
    pub exit: Exit,
    /// What to do next.
    pub hint: Option<String>,
}

impl CommandError {
    pub fn new(exit: Exit, failure: Failure) -> Self {
        Self { failure: Box::new(failure), exit, hint: None }
    }

    /// Bad input of the person who runs the command.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, Failure::new(codes::INVALID_REQUEST, message))
    }

    /// Says which file it is about.
    #[must_use]
    pub fn about(mut self, path: &std::path::Path) -> Self {
        self.failure.message = format!("{}: {}", path.display(), self.failure.message);
        self
    }

    /// Says what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The hint of this error, or what the table of codes says.
    fn advice(&self) -> Option<String> {
        self.hint.clone().or_else(|| self.failure.code.info().map(|info| info.action.to_owned()))
    }
}

/// The exit code that a stable code asks for.
pub fn exit_of(code: &Code) -> Exit {
    if [codes::NOT_FOUND, codes::CONFLICT, codes::DRIFT].contains(code) {
        return Exit::No;
    }
    match code.category() {
        Category::Input | Category::Workflow | Category::Replay => Exit::Usage,
        Category::Host => Exit::Unreachable,
        Category::Skill | Category::Llm | Category::Limit | Category::Operator | Category::Internal => Exit::No,
    }
}

impl From<Failure> for CommandError {
    fn from(failure: Failure) -> Self {
        Self::new(exit_of(&failure.code), failure)
    }
}

/// The result of a command.
pub type CommandResult = Result<Exit, CommandError>;

/// The command's way to speak.
pub struct Ui {
    format: Format,
}

impl Ui {
    pub const fn new(format: Format) -> Self {
        Self { format }
    }

    pub const fn is_json(&self) -> bool {
        matches!(self.format, Format::Json)
    }

    /// Whether progress may be drawn: for people, on a terminal.
    pub fn draws_progress(&self) -> bool {
        !self.is_json() && io::stderr().is_terminal()
    }

    /// Prints a result: `json` as one document, or `text`, which gets a stream that knows whether colours are welcome.
    ///
    /// # Errors
    /// Standard output that can't be written to. A reader that went away (`| head`) is not an error.
    pub fn result<T: Serialize + ?Sized>(
        &self,
        json: &T,
        text: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), CommandError> {
        let mut out = anstream::AutoStream::auto(io::stdout().lock());
        let written = match self.format {
            Format::Json => {
                serde_json::to_writer_pretty(&mut out, json).map_err(io::Error::from).and_then(|()| writeln!(out))
            }
            Format::Text => text(&mut out),
        };
        written.and_then(|()| out.flush()).or_else(forgive)
    }

    /// Prints text as it is, whatever the format: a file's content, say.
    ///
    /// # Errors
    /// As [`Ui::result`].
    pub fn raw(&self, text: &str) -> Result<(), CommandError> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).or_else(forgive)
    }

    /// Says something besides the result, to people only.
    pub fn note(&self, text: impl std::fmt::Display) {
        if !self.is_json() {
            // Nobody is left to tell when standard error is closed.
            let _ = writeln!(anstream::AutoStream::auto(io::stderr().lock()), "{text}");
        }
    }

    /// Reports an error.
    pub fn error(&self, error: &CommandError) {
        let failure = &error.failure;
        let mut err = anstream::AutoStream::auto(io::stderr().lock());
        // Nobody is left to tell when standard error is closed.
        let _ = match self.format {
            Format::Json => {
                let document = json!({"error": {
                    "code": failure.code, "message": failure.message, "details": failure.details, "action": error.advice(),
                }});
                writeln!(err, "{document:#}")
            }
            Format::Text => {
                let (red, dim) = (BAD.render(), DIM.render());
                let reset = anstyle::Reset.render();
                let advice = error.advice().map(|advice| format!("\n  {dim}→ {advice}{reset}")).unwrap_or_default();
                writeln!(err, "{red}error{reset}: {}: {}{advice}", failure.code, failure.message)
            }
        };
    }
}

/// The style of what is well.
pub const GOOD: Style = AnsiColor::Green.on_default().bold();
/// The style of what is not.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// The style of what needs a look.
pub const WARN: Style = AnsiColor::Yellow.on_default().bold();
/// The style of what is less important.
pub const DIM: Style = Style::new().dimmed();

/// A word in a style.
pub fn styled(style: Style, text: impl std::fmt::Display) -> String {
    format!("{}{text}{}", style.render(), style.render_reset())
}

fn forgive(error: io::Error) -> Result<(), CommandError> {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Ok(());
    }
    Err(CommandError::new(
        Exit::Unreachable,
        Failure::new(codes::INTERNAL, format!("standard output can't be written to: {error}")),
    )
    .hint("check the disk or the pipe"))
}
