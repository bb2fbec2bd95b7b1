//! What a server takes that has nothing to do: time until it is ready, memory, and the size of the program.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::Args;
use tokio::net::TcpListener;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// How long a server is left alone before its memory is read.
const SETTLED: Duration = Duration::from_secs(5);

/// Against hangs only.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which server is measured.
#[derive(Args)]
pub struct Options {
    /// The program.
    #[arg(long, default_value = "target/release/aos-server")]
    server: PathBuf,
    /// Start it this many times, each on a file of its own.
    #[arg(long, default_value_t = 5)]
    starts: u32,
}

/// Starts servers on an empty SQLite file each, and leaves them alone.
pub async fn run(options: &Options) -> Result<()> {
    let server = options.server.canonicalize().map_err(|e| format!("{}: {e}", options.server.display()))?;
    println!("{:<24} {:>12} {:>14} {:>14}", "an idle server", "ready ms", "resident MB", "not file MB");
    for start in 1..=options.starts {
        let (ready, status) = once(&server).await?;
        let mb = |field| megabytes(&status, field).map_or_else(|| "-".to_owned(), |mb| format!("{mb:.1}"));
        println!("  {:<22} {ready:>12} {:>14} {:>14}", format!("start {start}"), mb("VmRSS:"), mb("RssAnon:"));
    }
    println!("the program has {:.1} MB", std::fs::metadata(&server)?.len() as f64 / 1e6);
    Ok(())
}

/// The milliseconds until it was ready, and what the system says of it later.
async fn once(server: &Path) -> Result<(u128, String)> {
    let dir = tempfile::tempdir()?;
    let port = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port();
    let begun = Instant::now();
    let mut command = Command::new(server);
    command.args(["serve", "--port", &port.to_string()]).current_dir(dir.path()).env_clear();
    let process = Process(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
    let (http, url) = (reqwest::Client::new(), format!("http://127.0.0.1:{port}/health/ready"));
    while !http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
        if begun.elapsed() > PATIENCE {
            return Err("the server was never ready".into());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let ready = begun.elapsed().as_millis();
    tokio::time::sleep(SETTLED).await;
    // Only Linux says it so; elsewhere the columns stay empty.
    Ok((ready, std::fs::read_to_string(format!("/proc/{}/status", process.0.id())).unwrap_or_default()))
}

fn megabytes(status: &str, field: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<f64>().ok()? / 1e3)
}

/// Ends with what it is held by.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
