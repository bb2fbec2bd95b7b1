//! A private Redis.

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::install::{ensure, on_path};
use super::{at_the_end, directory, free_port, run};

/// How many databases a server has, so that each test takes one.
const DATABASES: u32 = 1_000;

/// How long a server may take to answer for the first time.
const PATIENCE: Duration = Duration::from_secs(30);

/// A Redis server of this process alone, on a port of 127.0.0.1, that keeps nothing on disk.
///
/// It can be given every trouble that a Redis has in its life: see [`Redis::kill`], [`Redis::pause`] and, for what is
/// a matter of settings (read-only, full, slow), [`Redis::cli`].
pub struct Redis {
    program: PathBuf,
    directory: PathBuf,
    port: u16,
    settings: Vec<String>,
    process: Mutex<Option<Child>>,
    next: AtomicU32,
    /// Kills the server when the pipe to it closes.
    _end: Child,
}

impl Redis {
    /// The server that all tests of this process share. Whoever flushes or stops one starts a server of its own.
    ///
    /// # Panics
    /// When there is no Redis and none can be installed or started: a test must not pass without one.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Redis> = OnceLock::new();
        SHARED.get_or_init(|| {
            #[expect(clippy::panic, reason = "a test without its service has to fail")]
            Self::start(&[]).unwrap_or_else(|error| panic!("no Redis for the tests: {error}"))
        })
    }

    /// Starts a server with these settings (`name=value`) beside the usual ones.
    ///
    /// # Errors
    /// Programs that are not there and can't be installed; a server that doesn't start, with its log.
    pub fn start(settings: &[&str]) -> io::Result<Self> {
        let program = ensure(&["redis-server", "redis-tools"], || {
            on_path("redis-cli")?;
            on_path("redis-server")
        })?;
        let directory = directory("redis")?;
        let file = directory.join("pid");
        let kill = format!("kill -KILL $(cat '{}')", file.display());
        let redis = Self {
            program,
            port: free_port()?,
            settings: settings.iter().map(|setting| (*setting).to_owned()).collect(),
            process: Mutex::new(None),
            next: AtomicU32::new(0),
            _end: at_the_end(&kill, &directory)?,
            directory,
        };
        redis.begin(&mut redis.process())?;
        Ok(redis)
    }

    /// Its URL, `redis://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The number of a database that nobody has used yet: `url()` and `/` and the number is its URL.
    pub fn database(&self) -> u32 {
        self.next.fetch_add(1, Ordering::Relaxed) % DATABASES
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The socket on which it listens as well.
    pub fn socket(&self) -> PathBuf {
        self.directory.join("socket")
    }

    /// What `redis-cli` prints for a command.
    ///
    /// # Errors
    /// An error that Redis answers with, and a server that is not there.
    pub fn cli(&self, command: &[&str]) -> io::Result<String> {
        let port = self.port.to_string();
        run(Command::new("redis-cli").args(["-e", "-p", &port]).args(command))
    }

    /// Ends the server in order.
    ///
    /// # Errors
    /// A server that can't be told or does not end.
    pub fn stop(&self) -> io::Result<()> {
        self.end("TERM")
    }

    /// Ends the server at once (SIGKILL); what it had in memory is gone.
    ///
    /// # Errors
    /// As [`Redis::stop`].
    pub fn kill(&self) -> io::Result<()> {
        self.end("KILL")
    }

    /// Starts the server again, empty and on the same port; one that runs is killed first.
    ///
    /// # Errors
    /// As [`Redis::start`].
    pub fn restart(&self) -> io::Result<()> {
        self.kill()?;
        self.begin(&mut self.process())
    }

    /// Stops its process (SIGSTOP): connections stay open, and nothing answers.
    ///
    /// # Errors
    /// A server that does not run.
    pub fn pause(&self) -> io::Result<()> {
        self.signal("STOP")
    }

    /// Lets a paused server go on (SIGCONT).
    ///
    /// # Errors
    /// A server that does not run.
    pub fn go_on(&self) -> io::Result<()> {
        self.signal("CONT")
    }

    fn begin(&self, process: &mut Option<Child>) -> io::Result<()> {
        let mut server = Command::new(&self.program);
        server.current_dir(&self.directory).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        server.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--unixsocket"]).arg(self.socket());
        server.args(["--save", "", "--appendonly", "no", "--daemonize", "no"]);
        server.args(["--databases", &DATABASES.to_string()]);
        server.arg("--pidfile").arg(self.directory.join("pid")).arg("--logfile").arg(self.log());
        for setting in &self.settings {
            let (name, value) = setting.split_once('=').unwrap_or((setting, ""));
            server.args([&format!("--{name}"), value]);
        }
        let server = process.insert(server.spawn()?);
        let started = Instant::now();
        while !answers(self.port) {
            let ended = server.try_wait()?;
            if ended.is_some() || started.elapsed() > PATIENCE {
                let log = fs::read_to_string(self.log()).unwrap_or_default();
                let how = ended.map_or("does not answer".into(), |status| format!("has ended ({status})"));
                return Err(io::Error::other(format!("{} {how}:\n{log}", self.program.display())));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn end(&self, signal: &str) -> io::Result<()> {
        let mut process = self.process();
        if let Some(mut server) = process.take() {
            send(signal, server.id())?;
            server.wait()?;
        }
        // Nobody may be killed who has got the same number since.
        match fs::remove_file(self.directory.join("pid")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn signal(&self, signal: &str) -> io::Result<()> {
        let process = self.process();
        let server = process.as_ref().ok_or_else(|| io::Error::other("the Redis has been stopped"))?;
        send(signal, server.id())
    }

    fn log(&self) -> PathBuf {
        self.directory.join("log")
    }

    fn process(&self) -> MutexGuard<'_, Option<Child>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // The shell at the other end of the pipe removes the directory. Without this the server would end with the
        // process only, and a process may start many.
        let _ = self.kill();
    }
}

/// Whether a server answers, be it with a refusal of whoever has no password.
fn answers(port: u16) -> bool {
    let ask = || {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"PING\r\n")?;
        let mut answer = [0; 8];
        let length = stream.read(&mut answer)?;
        io::Result::Ok(answer[..length].starts_with(b"+PONG") || answer[..length].starts_with(b"-NOAUTH"))
    };
    ask().unwrap_or(false)
}

fn send(signal: &str, process: u32) -> io::Result<()> {
    run(Command::new("kill").args([&format!("-{signal}"), &process.to_string()])).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redis_lives_dies_hangs_and_comes_back() {
        let redis = Redis::start(&["maxmemory=50mb"]).unwrap();
        assert_eq!(redis.cli(&["CONFIG", "GET", "maxmemory"]).unwrap(), "maxmemory\n52428800\n");
        assert_eq!(redis.cli(&["SET", "key", "value"]).unwrap(), "OK\n");
        assert!(redis.cli(&["NONSENSE"]).unwrap_err().to_string().contains("unknown command"));
        redis.pause().unwrap();
        assert!(!answers(redis.port()));
        redis.go_on().unwrap();
        assert_eq!(redis.cli(&["GET", "key"]).unwrap(), "value\n");
        redis.kill().unwrap();
        assert!(redis.cli(&["PING"]).is_err() && redis.pause().is_err());
        redis.restart().unwrap();
        assert_eq!(redis.cli(&["EXISTS", "key"]).unwrap(), "0\n");
        redis.stop().unwrap();
        let directory = redis.directory.clone();
        assert!(directory.exists());
        drop(redis);
        let started = Instant::now();
        while directory.exists() && started.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(!directory.exists(), "{} is left over", directory.display());
    }
}
