//! Reads regular expressions.

use super::{MAX_NESTING, MAX_PROGRAM, Node, Set};

/// A pattern being read.
pub(super) struct Parser {
    chars: Vec<char>,
    at: usize,
    depth: usize,
}

impl Parser {
    /// Reads a whole pattern.
    pub(super) fn parse(text: &str) -> Result<Node, String> {
        let mut parser = Self { chars: text.chars().collect(), at: 0, depth: 0 };
        let root = parser.either()?;
        match parser.peek() {
            Some(c) => Err(format!("unmatched {c:?} at character {}", parser.at)),
            None => Ok(root),
        }
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn eat(&mut self, c: char) -> bool {
        let found = self.peek() == Some(c);
        self.at += usize::from(found);
        found
    }

    fn next(&mut self) -> Result<char, String> {
        let c = self.peek().ok_or("it ends too early")?;
        self.at += 1;
        Ok(c)
    }

    /// Branches, up to the end or a closing parenthesis.
    fn either(&mut self) -> Result<Node, String> {
        self.depth += 1;
        if self.depth > MAX_NESTING {
            return Err("its groups nest too deep".into());
        }
        let mut branches = vec![self.sequence()?];
        while self.eat('|') {
            branches.push(self.sequence()?);
        }
        self.depth -= 1;
        Ok(if branches.len() == 1 { branches.remove(0) } else { Node::Either(branches) })
    }

    fn sequence(&mut self) -> Result<Node, String> {
        let mut nodes = Vec::new();
        while let Some(c) = self.peek().filter(|c| !matches!(c, '|' | ')')) {
            let node = self.atom(c)?;
            nodes.push(self.quantified(node)?);
        }
        Ok(Node::Sequence(nodes))
    }

    fn atom(&mut self, c: char) -> Result<Node, String> {
        self.at += 1;
        Ok(match c {
            '^' => Node::Start,
            '$' => Node::End,
            '.' => {
                Node::Chars(Set { negated: true, ranges: vec![('\n', '\n'), ('\r', '\r'), ('\u{2028}', '\u{2029}')] })
            }
            '[' => Node::Chars(self.class()?),
            '\\' => Node::Chars(self.escape()?),
            '(' => {
                if self.eat('?') {
                    self.group_kind()?;
                }
                let node = self.either()?;
                if !self.eat(')') {
                    return Err("a group is not closed".into());
                }
                node
            }
            '*' | '+' | '?' => return Err(format!("nothing to repeat before {c:?} at character {}", self.at - 1)),
            _ => Node::Chars(Set { negated: false, ranges: vec![(c, c)] }),
        })
    }

    /// After `(?`: only groups without a meaning of their own.
    fn group_kind(&mut self) -> Result<(), String> {
        if self.eat(':') {
            return Ok(());
        }
        if self.eat('<') && !matches!(self.peek(), Some('=' | '!')) {
            while self.next()? != '>' {}
            return Ok(());
        }
        Err("look-around and inline flags are not supported".into())
    }

    fn quantified(&mut self, node: Node) -> Result<Node, String> {
        let (min, max) = match self.peek() {
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('?') => (0, Some(1)),
            Some('{') => match self.counts() {
                Some(counts) => counts,
                None => return Ok(node),
            },
            _ => return Ok(node),
        };
        // The cursor stands on the last character of the quantifier.
        self.at += 1;
        self.eat('?');
        if max.is_some_and(|max| max < min) {
            return Err("a repetition's bounds are the wrong way round".into());
        }
        if min > MAX_PROGRAM || max.is_some_and(|max| max > MAX_PROGRAM) {
            return Err("it is too large".into());
        }
        Ok(Node::Repeat { node: Box::new(node), min, max })
    }

    /// Reads `{2}`, `{2,}` or `{2,5}` up to its closing brace; `None` when the brace is a plain character.
    fn counts(&mut self) -> Option<(usize, Option<usize>)> {
        let close = self.chars[self.at..].iter().position(|c| *c == '}')? + self.at;
        let inner: String = self.chars[self.at + 1..close].iter().collect();
        let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        let counts = match inner.split_once(',') {
            None => number(&inner).map(|n| (n, Some(n)))?,
            Some((min, "")) => (number(min)?, None),
            Some((min, max)) => (number(min)?, Some(number(max)?)),
        };
        self.at = close;
        Some(counts)
    }

    fn class(&mut self) -> Result<Set, String> {
        let mut set = Set { negated: self.eat('^'), ranges: Vec::new() };
        while !self.eat(']') {
            let from = self.class_item()?;
            // A dash before the end is a dash.
            let is_range = self.peek() == Some('-') && self.chars.get(self.at + 1).is_some_and(|c| *c != ']');
            match (is_range, from.single()) {
                (true, Some(from)) => {
                    self.at += 1;
                    let to = self.class_item()?.single().ok_or("a class has a range that ends in a set")?;
                    if to < from {
                        return Err("a class has a range that is the wrong way round".into());
                    }
                    set.ranges.push((from, to));
                }
                _ if from.negated => set.ranges.extend(complement(from.ranges)),
                _ => set.ranges.extend(from.ranges),
            }
        }
        Ok(set)
    }

    fn class_item(&mut self) -> Result<Set, String> {
        match self.next()? {
            '\\' => self.escape(),
            c => Ok(Set { negated: false, ranges: vec![(c, c)] }),
        }
    }

    fn escape(&mut self) -> Result<Set, String> {
        let c = self.next()?;
        let single = |c: char| Ok(Set { negated: false, ranges: vec![(c, c)] });
        let ranges = match c.to_ascii_lowercase() {
            'd' => vec![('0', '9')],
            'w' => vec![('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')],
            's' => {
                vec![('\t', '\r'), (' ', ' '), ('\u{a0}', '\u{a0}'), ('\u{2000}', '\u{200a}'), ('\u{2028}', '\u{2029}')]
            }
            _ => {
                return match c {
                    'n' => single('\n'),
                    'r' => single('\r'),
                    't' => single('\t'),
                    'f' => single('\u{c}'),
                    'v' => single('\u{b}'),
                    '0' => single('\0'),
                    'x' => self.hex(2).and_then(single),
                    'u' => self.hex(4).and_then(single),
                    'a'..='z' | 'A'..='Z' | '1'..='9' => Err(format!("the escape \\{c} is not supported")),
                    _ => single(c),
                };
            }
        };
        Ok(Set { negated: c.is_ascii_uppercase(), ranges })
    }

    fn hex(&mut self, digits: usize) -> Result<char, String> {
        let mut code = 0;
        for _ in 0..digits {
            code = code * 16 + self.next()?.to_digit(16).ok_or("an escape has a digit that is not hexadecimal")?;
        }
        char::from_u32(code).ok_or_else(|| "an escape names half of a character".into())
    }
}

impl Set {
    fn single(&self) -> Option<char> {
        match self.ranges[..] {
            [(from, to)] if from == to && !self.negated => Some(from),
            _ => None,
        }
    }
}

/// Everything outside of `ranges`.
fn complement(mut ranges: Vec<(char, char)>) -> Vec<(char, char)> {
    ranges.sort_unstable();
    let mut rest = Vec::new();
    let mut from = Some('\0');
    for (start, end) in ranges {
        if let Some(first) = from
            && first < start
            && let Some(last) = before(start)
        {
            rest.push((first, last));
        }
        from = after(end).filter(|_| from.is_some());
    }
    rest.extend(from.map(|first| (first, char::MAX)));
    rest
}

fn before(c: char) -> Option<char> {
    ('\0'..c).next_back()
}

fn after(c: char) -> Option<char> {
    (c..=char::MAX).nth(1)
}
