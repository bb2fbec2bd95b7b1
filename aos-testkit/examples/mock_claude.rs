//! A [`MockClaude`] as a process of its own: prints its URL and key as two lines and serves until its input ends.
//!
//! Arguments: the port (a free one when it is 0 or missing).

use std::io;

use aos_testkit::service::MockClaude;

fn main() -> io::Result<()> {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok()).unwrap_or(0);
    // Nobody asks it for requests and records.
    let claude = MockClaude::builder().port(port).keep(0).start()?;
    println!("{}\n{}", claude.base_url(), claude.key());
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}
