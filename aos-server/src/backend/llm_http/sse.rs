//! Server-sent events out of bytes that come in pieces cut anywhere.

/// An incremental parser of an event stream, as the HTML standard describes it ("event stream interpretation").
///
/// Bounded: an event larger than the bound is an error, whatever it consists of. An event that has not ended when the
/// stream does is dropped, as the standard has it: its sender had more to say.
pub(crate) struct Sse {
    /// Bytes that are not yet read.
    buffer: Vec<u8>,
    /// Where the next line begins in `buffer`.
    at: usize,
    /// How far `buffer` has been searched for the end of that line.
    searched: usize,
    /// Whether a line feed that comes next belongs to a line that has ended already.
    after_cr: bool,
    /// Whether nothing was read yet: a byte order mark may come.
    at_start: bool,
    /// The data of the event that is being read, or of the one that was given last.
    data: Vec<u8>,
    has_data: bool,
    given: bool,
    max_event: usize,
}

/// An event is larger than the bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SseTooLarge;

impl Sse {
    /// A parser that takes events of at most `max_event` bytes.
    pub(crate) fn new(max_event: usize) -> Self {
        Self {
            buffer: Vec::new(),
            at: 0,
            searched: 0,
            after_cr: false,
            at_start: true,
            data: Vec::new(),
            has_data: false,
            given: false,
            max_event,
        }
    }

    /// Takes the next piece of the stream. Read all events before the next one is given.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.at);
        self.searched -= self.at;
        self.at = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The data of the next event that is there as a whole. Names of events are not given: the providers' data have
    /// them too.
    ///
    /// # Errors
    /// An event beyond the bound; the stream can't be read on.
    pub(crate) fn next(&mut self) -> Result<Option<&[u8]>, SseTooLarge> {
        if self.given {
            self.data.clear();
            self.has_data = false;
            self.given = false;
        }
        while let Some((from, to)) = self.line() {
            let line = self.buffer.get(from..to).unwrap_or_default();
            if line.is_empty() {
                if self.has_data {
                    self.given = true;
                    return Ok(Some(&self.data));
                }
                continue;
            }
            if let Some(value) = value_of(line, b"data") {
                if self.data.len() + value.len() >= self.max_event {
                    return Err(SseTooLarge);
                }
                if self.has_data {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(value);
                self.has_data = true;
            }
        }
        let unread = self.buffer.len() - self.at;
        if unread + self.data.len() > self.max_event { Err(SseTooLarge) } else { Ok(None) }
    }

    /// The next whole line, without its end.
    fn line(&mut self) -> Option<(usize, usize)> {
        if self.after_cr && self.at < self.buffer.len() {
            self.after_cr = false;
            if self.buffer.get(self.at) == Some(&b'\n') {
                self.at += 1;
            }
            self.searched = self.searched.max(self.at);
        }
        let found = self.buffer.get(self.searched..)?.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
        let Some(found) = found else {
            self.searched = self.buffer.len();
            return None;
        };
        let (mut from, to) = (self.at, self.searched + found);
        // A carriage return ends the line at once: whether a line feed follows may be known only with the next piece.
        self.after_cr = self.buffer.get(to) == Some(&b'\r');
        self.at = to + 1;
        self.searched = self.at;
        if self.at_start {
            self.at_start = false;
            if self.buffer.get(from..to).is_some_and(|line| line.starts_with(b"\xef\xbb\xbf")) {
                from += 3;
            }
        }
        Some((from, to))
    }
}

/// The value of a line that belongs to `field`. Lines that begin with a colon are comments: their field has no name.
fn value_of<'a>(line: &'a [u8], field: &[u8]) -> Option<&'a [u8]> {
    let rest = line.strip_prefix(field)?;
    match rest {
        [] => Some(rest),
        [b':', b' ', value @ ..] | [b':', value @ ..] => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(pieces: &[&[u8]]) -> Result<Vec<String>, SseTooLarge> {
        let mut sse = Sse::new(64);
        let mut events = Vec::new();
        for piece in pieces {
            sse.feed(piece);
            while let Some(data) = sse.next()? {
                events.push(String::from_utf8_lossy(data).into_owned());
            }
        }
        Ok(events)
    }

    const TABLE: &[(&str, &[&str])] = &[
        ("", &[]),
        ("data: a\n\n", &["a"]),
        ("data:a\r\n\r\ndata:  b\r\rdata\n\n", &["a", " b", ""]),
        ("event: x\ndata: a\nid: 1\nretry: 5\n\n", &["a"]),
        ("data: a\ndata: b\ndata:\n\n", &["a\nb\n"]),
        (": comment\n\n:\ndata: a\n: more\n\n", &["a"]),
        ("event: nothing\n\ndata: a\n\n", &["a"]),
        ("\u{feff}data: a\n\n\u{feff}data: b\n\n", &["a"]),
        ("data: ends without a blank line\n", &[]),
        ("datax: no\ndata : no\n data: no\n\n", &[]),
        ("data: a:b: c\r\n\n\r\n\ndata: d\n\n", &["a:b: c", "d"]),
        ("data: é\u{2028}ü\n\n", &["é\u{2028}ü"]),
    ];

    #[test]
    fn events_are_the_same_wherever_pieces_are_cut() {
        for (text, expected) in TABLE {
            let bytes = text.as_bytes();
            assert_eq!(all(&[bytes]).unwrap(), *expected, "{text:?}");
            for first in 0..=bytes.len() {
                for second in first..=bytes.len() {
                    let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                    assert_eq!(all(&pieces).unwrap(), *expected, "{text:?} cut at {first} and {second}");
                }
            }
            let single: Vec<_> = bytes.chunks(1).collect();
            assert_eq!(all(&single).unwrap(), *expected, "{text:?} byte by byte");
        }
    }

    #[test]
    fn events_are_bounded() {
        let line = "x".repeat(65);
        let lines = "data: 0123456789\n".repeat(7);
        for text in [line.clone(), format!("data: {line}\n\n"), lines] {
            assert_eq!(all(&[text.as_bytes()]), Err(SseTooLarge), "{text:?}");
            let single: Vec<_> = text.as_bytes().chunks(1).collect();
            assert_eq!(all(&single), Err(SseTooLarge), "{text:?}");
        }
        let many = "data: 0123456789\n\n".repeat(100);
        assert_eq!(all(&[many.as_bytes()]).unwrap().len(), 100);
    }
}
