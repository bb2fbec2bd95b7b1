//! A TCP proxy in front of a service: it makes the network fail when a test says so.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes forwarded at a time.
const PIECE: usize = 16 * 1024;

/// A proxy between clients and one service. It ends, and its connections with it, when this is dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// A way through the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From clients to the service: requests.
    ToService,
    /// From the service to clients: answers.
    ToClient,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1 and passes everything on to `service`.
    ///
    /// # Errors
    /// No free port.
    pub fn start(service: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { service, state: Mutex::default(), changed: Condvar::new() });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accepting.accept(&listener));
        Ok(Self { address, shared })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Passes everything on from now on. What was held back goes first.
    pub fn pass(&self) {
        self.shared.set(Mode::Pass);
    }

    /// Holds every piece back for that long, each way.
    pub fn delay(&self, by: Duration) {
        self.shared.set(Mode::Delay(by));
    }

    /// Accepts connections, keeps those there are, and forwards nothing: neither bytes nor that an end has closed.
    pub fn black_hole(&self) {
        self.shared.set(Mode::BlackHole);
    }

    /// Closes every connection, and each new one at once.
    pub fn refuse(&self) {
        self.shared.set(Mode::Refuse);
        self.cut();
    }

    /// Closes every connection now. New ones are treated as before.
    pub fn cut(&self) {
        self.shared.lock().close(|_| true);
        self.shared.changed.notify_all();
    }

    /// Forwards nothing more of the connections that there are, whatever comes, and keeps them open; new ones are treated
    /// as before. So does a firewall that has forgotten what it let through.
    pub fn strand(&self) {
        self.shared.lock().links.values_mut().for_each(|link| link.stranded = true);
    }

    /// Closes the connections that are stranded, as their ends do when nothing has come for hours.
    pub fn cut_stranded(&self) {
        self.shared.lock().close(|link| link.stranded);
        self.shared.changed.notify_all();
    }

    /// Lets `bytes` more bytes through that way, of all connections together, and closes the connection of the byte
    /// after them in place of forwarding it. Once: the other connections, and new ones, are not touched.
    ///
    /// A connection dies with its commit sent and the answer lost after 0 bytes [`Way::ToClient`], and in the middle of
    /// a request after a few bytes [`Way::ToService`].
    pub fn cut_after(&self, way: Way, bytes: u64) {
        self.shared.lock().cut_after = Some((way, bytes));
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.shared.lock().links.len()
    }

    /// How many connections the proxy has closed by itself.
    pub fn cuts(&self) -> u64 {
        self.shared.lock().cuts
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.cut();
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

struct Shared {
    service: SocketAddr,
    state: Mutex<State>,
    /// Notified when what is held back may have to go, or to be given up.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    mode: Mode,
    links: BTreeMap<u64, Link>,
    accepted: u64,
    cut_after: Option<(Way, u64)>,
    cuts: u64,
    ended: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Pass,
    Delay(Duration),
    BlackHole,
    Refuse,
}

/// A connection: its ends, the service's once there is one.
struct Link {
    client: TcpStream,
    service: Option<TcpStream>,
    /// Ways that have come to their end.
    ended: u8,
    /// Whether nothing of it is forwarded any more.
    stranded: bool,
}

/// What may go on: so many bytes, and whether the connection is to be closed after them.
struct Gate {
    bytes: usize,
    cut: bool,
}

impl Shared {
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming() {
            let Ok(client) = client else { continue };
            let mut state = self.lock();
            if state.ended {
                return;
            }
            if state.mode == Mode::Refuse {
                state.cuts += 1;
                continue;
            }
            let Ok(kept) = client.try_clone() else { continue };
            state.accepted += 1;
            let number = state.accepted;
            state.links.insert(number, Link { client: kept, service: None, ended: 0, stranded: false });
            let shared = Arc::clone(self);
            thread::spawn(move || {
                if shared.link(number, client).is_none() {
                    shared.close(number);
                }
            });
        }
    }

    /// Connects a client to the service, once the way is open; `None` when that comes to nothing.
    fn link(self: &Arc<Self>, number: u64, client: TcpStream) -> Option<()> {
        self.gate(number, Way::ToService, 0)?;
        let service = TcpStream::connect(self.service).ok()?;
        client.set_nodelay(true).ok()?;
        service.set_nodelay(true).ok()?;
        self.lock().links.get_mut(&number)?.service = Some(service.try_clone().ok()?);
        let (shared, from, to) = (Arc::clone(self), service.try_clone().ok()?, client.try_clone().ok()?);
        thread::spawn(move || shared.forward(number, Way::ToClient, from, to));
        self.forward(number, Way::ToService, client, service);
        Some(())
    }

    /// Forwards one way of a connection until that has come to its end.
    fn forward(&self, number: u64, way: Way, mut from: TcpStream, mut to: TcpStream) {
        let mut piece = vec![0; PIECE];
        loop {
            let read = from.read(&mut piece).unwrap_or(0);
            let Some(gate) = self.gate(number, way, read) else { return };
            let written = to.write_all(&piece[..gate.bytes]);
            if gate.cut {
                self.lock().cuts += 1;
                return self.close(number);
            }
            if read == 0 || written.is_err() {
                let _ = to.shutdown(Shutdown::Write);
                return self.end(number);
            }
        }
    }

    /// Waits until a piece that was read may go on; `None` when its connection has been closed.
    fn gate(&self, number: u64, way: Way, read: usize) -> Option<Gate> {
        let since = Instant::now();
        let mut state = self.lock();
        loop {
            let rest = match (state.links.get(&number)?.stranded, state.mode) {
                (false, Mode::Pass) => Duration::ZERO,
                (false, Mode::Delay(by)) => by.saturating_sub(since.elapsed()),
                // Until something changes; a limit only because the wait needs one.
                (true, _) | (false, Mode::BlackHole | Mode::Refuse) => Duration::from_secs(60),
            };
            if rest.is_zero() {
                return Some(state.pass(way, read));
            }
            state = self.changed.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// One of a connection's ways has come to its end; with the second the connection has.
    fn end(&self, number: u64) {
        let mut state = self.lock();
        if let Some(link) = state.links.get_mut(&number) {
            link.ended += 1;
            if link.ended == 2 {
                state.links.remove(&number);
            }
        }
    }

    fn close(&self, number: u64) {
        if let Some(link) = self.lock().links.remove(&number) {
            link.close();
        }
        self.changed.notify_all();
    }

    fn set(&self, mode: Mode) {
        self.lock().mode = mode;
        self.changed.notify_all();
    }

    /// The state is consistent whoever panicked while holding it: every change is one assignment.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes what goes on from what may still go on before a connection is cut.
    fn pass(&mut self, way: Way, read: usize) -> Gate {
        match &mut self.cut_after {
            Some((cut, left)) if *cut == way && read > 0 => match left.checked_sub(read as u64) {
                Some(rest) => *left = rest,
                None => {
                    let bytes = usize::try_from(*left).unwrap_or(read);
                    self.cut_after = None;
                    return Gate { bytes, cut: true };
                }
            },
            _ => {}
        }
        Gate { bytes: read, cut: false }
    }

    fn close(&mut self, which: impl Fn(&Link) -> bool) {
        let (closed, kept) = std::mem::take(&mut self.links).into_iter().partition(|(_, link)| which(link));
        self.links = kept;
        self.cuts += closed.len() as u64;
        closed.values().for_each(Link::close);
    }
}

impl Link {
    /// Also ends the reads that other threads wait in.
    fn close(&self) {
        for end in std::iter::once(&self.client).chain(&self.service) {
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}
