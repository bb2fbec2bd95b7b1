//! Why Redis is of no use right now.

use std::fmt;

use redis::{ErrorKind, RedisError, ServerErrorKind};

/// What keeps Redis from being of use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// In one word.
    pub kind: TroubleKind,
    /// As it was reported; holds no password.
    pub what: String,
}

/// Kinds of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TroubleKind {
    /// It can't be reached, or hung up.
    Away,
    /// It did not answer in time.
    Slow,
    /// It takes no writes: a replica, or one that can't save what it holds.
    ReadOnly,
    /// It has no memory left.
    Full,
    /// It loads its data, or runs somebody's script.
    Busy,
    /// It refuses this user.
    Denied,
    /// It refuses the command itself.
    Refused,
}

impl TroubleKind {
    /// Whether the next command would fare the same, whatever it is.
    pub(super) const fn concerns_all(self) -> bool {
        !matches!(self, Self::Refused)
    }

    /// What to do about it.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Away => "check that Redis runs and that REDIS_URL reaches it",
            Self::Slow => "check what keeps Redis or the network busy (SLOWLOG GET, redis-cli --latency)",
            Self::ReadOnly => "point REDIS_URL at the primary, or let it save its data again",
            Self::Full => "raise `maxmemory`, or let Redis evict (`maxmemory-policy allkeys-lru`)",
            Self::Busy => "wait; if it lasts, look at SCRIPT KILL and INFO persistence",
            Self::Denied => {
                "check user and password in REDIS_URL; the user needs +@read +@write +@scripting +@pubsub on keys and channels `aos:*`"
            }
            Self::Refused => "look into Redis' log; Redis 6 or newer is needed",
        }
    }
}

impl Trouble {
    /// An answer that took too long.
    pub(super) fn slow(what: impl Into<String>) -> Self {
        Self { kind: TroubleKind::Slow, what: what.into() }
    }
}

impl From<&RedisError> for Trouble {
    fn from(error: &RedisError) -> Self {
        let what = error.to_string();
        let kind = match error.kind() {
            _ if error.is_timeout() => TroubleKind::Slow,
            ErrorKind::Io | ErrorKind::Client | ErrorKind::Parse => TroubleKind::Away,
            ErrorKind::AuthenticationFailed => TroubleKind::Denied,
            ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown) => TroubleKind::ReadOnly,
            ErrorKind::Server(ServerErrorKind::BusyLoading) => TroubleKind::Busy,
            ErrorKind::Server(ServerErrorKind::NoPerm) => TroubleKind::Denied,
            _ => match error.code() {
                Some("OOM") => TroubleKind::Full,
                Some("MISCONF" | "NOREPLICAS") => TroubleKind::ReadOnly,
                Some("BUSY") => TroubleKind::Busy,
                Some("NOAUTH" | "WRONGPASS") => TroubleKind::Denied,
                // Before Redis 7, what goes wrong in a script is an ERR with the real code somewhere in its text.
                _ if what.contains("READONLY") || what.contains("MISCONF") => TroubleKind::ReadOnly,
                _ if what.contains("OOM ") => TroubleKind::Full,
                _ => TroubleKind::Refused,
            },
        };
        Self { kind, what }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_apart() {
        let io = |kind: std::io::ErrorKind| RedisError::from(std::io::Error::from(kind));
        let answer = |text: &str| redis::parse_redis_value(text.as_bytes()).unwrap().extract_error().unwrap_err();
        for (error, kind) in [
            (io(std::io::ErrorKind::ConnectionRefused), TroubleKind::Away),
            (io(std::io::ErrorKind::BrokenPipe), TroubleKind::Away),
            (io(std::io::ErrorKind::TimedOut), TroubleKind::Slow),
            (answer("-READONLY You can't write against a read only replica.\r\n"), TroubleKind::ReadOnly),
            (answer("-MISCONF Redis is configured to save RDB snapshots\r\n"), TroubleKind::ReadOnly),
            (answer("-OOM command not allowed when used memory > 'maxmemory'.\r\n"), TroubleKind::Full),
            (answer("-LOADING Redis is loading the dataset in memory\r\n"), TroubleKind::Busy),
            (answer("-BUSY Redis is busy running a script.\r\n"), TroubleKind::Busy),
            (answer("-NOAUTH Authentication required.\r\n"), TroubleKind::Denied),
            (answer("-WRONGPASS invalid username-password pair\r\n"), TroubleKind::Denied),
            (answer("-NOPERM this user has no permissions to run the 'set' command\r\n"), TroubleKind::Denied),
            (
                answer("-ERR Error running script (call to f_1): @user_script:1: -READONLY You can't write\r\n"),
                TroubleKind::ReadOnly,
            ),
            (answer("-ERR unknown command 'EVAL'\r\n"), TroubleKind::Refused),
            (answer("-WRONGTYPE Operation against a key\r\n"), TroubleKind::Refused),
        ] {
            assert_eq!(Trouble::from(&error).kind, kind, "{error}");
        }
    }
}
