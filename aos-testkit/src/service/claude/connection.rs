//! Connections, and bodies that end as a reply says.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Bytes, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::account::Entry;

/// The client's end of a connection. Dropped, it is closed, or reset when that was asked for.
pub(super) struct Socket {
    stream: TcpStream,
    reset: Arc<AtomicBool>,
}

impl Socket {
    pub(super) fn new(stream: TcpStream) -> (Self, Arc<AtomicBool>) {
        // Small answers must not wait for each other's acknowledgement.
        let _ = stream.set_nodelay(true);
        let reset = Arc::<AtomicBool>::default();
        (Self { stream, reset: Arc::clone(&reset) }, reset)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.reset.load(Ordering::Acquire) {
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Ends a connection without an answer, or without the rest of one.
#[derive(Debug)]
pub(super) struct Dropped;

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection ends as the script says")
    }
}

impl std::error::Error for Dropped {}

/// A part of a body, and how long to wait before it.
pub(super) struct Piece {
    pub(super) after: Duration,
    pub(super) bytes: Bytes,
}

/// How a body ends after its last piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Last {
    End,
    Close,
    Reset,
    Stall,
}

/// The body of an answer.
pub(super) struct Body {
    pieces: VecDeque<Piece>,
    /// Its length, when the client is to know it before: also that of a body which is cut.
    length: Option<u64>,
    last: Last,
    entry: Arc<Entry>,
    reset: Arc<AtomicBool>,
    wait: Option<Pin<Box<Sleep>>>,
    /// Whether what came before the end has had its chance to be sent.
    flushed: bool,
}

impl Body {
    pub(super) fn new(
        pieces: VecDeque<Piece>,
        length: Option<u64>,
        last: Last,
        entry: Arc<Entry>,
        reset: Arc<AtomicBool>,
    ) -> Self {
        let body = Self { pieces, length, last, entry, reset, wait: None, flushed: false };
        body.note_if_whole();
        body
    }

    /// Notes that all of it was handed over, before it is sent: a client that has it all finds it noted.
    fn note_if_whole(&self) {
        if self.pieces.is_empty() && self.last == Last::End {
            self.entry.whole.store(true, Ordering::Release);
        }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Dropped;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Dropped>>> {
        if let Some(piece) = self.pieces.front() {
            if !piece.after.is_zero() {
                let after = piece.after;
                ready!(self.wait.get_or_insert_with(|| Box::pin(sleep(after))).as_mut().poll(cx));
                self.wait = None;
            }
            let bytes = self.pieces.pop_front().map(|piece| piece.bytes).unwrap_or_default();
            self.note_if_whole();
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        match self.last {
            Last::End => Poll::Ready(None),
            // The connection wakes the task when the client goes.
            Last::Stall => Poll::Pending,
            Last::Close | Last::Reset if !self.flushed => {
                self.flushed = true;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Last::Close => Poll::Ready(Some(Err(Dropped))),
            Last::Reset => {
                self.reset.store(true, Ordering::Release);
                Poll::Ready(Some(Err(Dropped)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty() && self.last == Last::End
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
