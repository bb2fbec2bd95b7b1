//! The `aos-server` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    aos_server::command::main()
}
