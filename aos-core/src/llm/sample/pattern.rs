//! Regular expressions as JSON Schema's `pattern` has them: texts that match one are made, and texts are matched.
//!
//! The subset: literals, `.`, classes, `\d \w \s` and their opposites, groups, `|`, greedy and lazy quantifiers, `^`
//! and `$`. Look-around, back-references and Unicode properties are refused by name. Matching simulates an automaton,
//! so that no pattern makes it slow or deep.

use crate::random::Rng;

/// How many instructions a pattern may take; counted repetitions take as many as they repeat.
const MAX_PROGRAM: usize = 20_000;

/// How deep groups may nest.
const MAX_NESTING: usize = 40;

/// How often an open-ended repetition is repeated at most when a text is made, beyond what it must be.
const EXTRA_REPEATS: u64 = 6;

/// A pattern that was understood.
pub(super) struct Pattern {
    root: Node,
    program: Vec<Op>,
}

enum Node {
    Chars(Set),
    Start,
    End,
    Sequence(Vec<Node>),
    Either(Vec<Node>),
    Repeat { node: Box<Node>, min: usize, max: Option<usize> },
}

#[derive(Clone)]
struct Set {
    negated: bool,
    ranges: Vec<(char, char)>,
}

enum Op {
    Chars(Set),
    Start,
    End,
    Jump(usize),
    Split(usize, usize),
    Match,
}

impl Pattern {
    /// Reads a pattern; the error says what can't be understood.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut parser = Parser { chars: text.chars().collect(), at: 0, depth: 0 };
        let root = parser.either()?;
        if parser.at < parser.chars.len() {
            return Err(format!("unmatched {:?} at character {}", parser.chars[parser.at], parser.at));
        }
        let mut program = Vec::new();
        compile(&root, &mut program)?;
        program.push(Op::Match);
        Ok(Self { root, program })
    }

    /// Makes a text that is meant to match; with misplaced anchors it may not.
    pub(super) fn make(&self, rng: &mut Rng, min_chars: usize, max_chars: usize) -> String {
        let mut text = String::new();
        let mut room = Room { wanted: min_chars, left: max_chars };
        generate(&self.root, rng, &mut room, &mut text);
        text
    }

    /// Whether any part of `text` matches.
    pub(super) fn matches(&self, text: &str) -> bool {
        let chars: Vec<char> = text.chars().collect();
        let mut current = States::new(self.program.len());
        for at in 0..=chars.len() {
            // A match may begin anywhere.
            current.add(&self.program, 0, at, chars.len());
            if current.matched {
                return true;
            }
            let mut next = States::new(self.program.len());
            if let Some(c) = chars.get(at) {
                for state in &current.list {
                    if let Op::Chars(set) = &self.program[*state]
                        && set.contains(*c)
                    {
                        next.add(&self.program, state + 1, at + 1, chars.len());
                    }
                }
            }
            current = next;
        }
        current.matched
    }
}

struct States {
    list: Vec<usize>,
    seen: Vec<bool>,
    matched: bool,
}

impl States {
    fn new(size: usize) -> Self {
        Self { list: Vec::new(), seen: vec![false; size], matched: false }
    }

    fn add(&mut self, program: &[Op], state: usize, at: usize, length: usize) {
        let mut open = vec![state];
        while let Some(state) = open.pop() {
            if std::mem::replace(&mut self.seen[state], true) {
                continue;
            }
            match &program[state] {
                Op::Chars(_) => self.list.push(state),
                Op::Start if at == 0 => open.push(state + 1),
                Op::End if at == length => open.push(state + 1),
                Op::Start | Op::End => {}
                Op::Jump(to) => open.push(*to),
                Op::Split(a, b) => open.extend([*a, *b]),
                Op::Match => self.matched = true,
            }
        }
    }
}

fn compile(node: &Node, program: &mut Vec<Op>) -> Result<(), String> {
    if program.len() > MAX_PROGRAM {
        return Err("it is too large".into());
    }
    match node {
        Node::Chars(set) => program.push(Op::Chars(set.clone())),
        Node::Start => program.push(Op::Start),
        Node::End => program.push(Op::End),
        Node::Sequence(nodes) => {
            for node in nodes {
                compile(node, program)?;
            }
        }
        Node::Either(nodes) => {
            let mut ends = Vec::new();
            for (index, node) in nodes.iter().enumerate() {
                if index + 1 == nodes.len() {
                    compile(node, program)?;
                } else {
                    let split = program.len();
                    program.push(Op::Split(split + 1, 0));
                    compile(node, program)?;
                    ends.push(program.len());
                    program.push(Op::Jump(0));
                    program[split] = Op::Split(split + 1, program.len());
                }
            }
            for end in ends {
                program[end] = Op::Jump(program.len());
            }
        }
        Node::Repeat { node, min, max } => {
            for _ in 0..*min {
                compile(node, program)?;
            }
            match max {
                None => {
                    let split = program.len();
                    program.push(Op::Split(split + 1, 0));
                    compile(node, program)?;
                    program.push(Op::Jump(split));
                    program[split] = Op::Split(split + 1, program.len());
                }
                Some(max) => {
                    let mut splits = Vec::new();
                    for _ in *min..*max {
                        splits.push(program.len());
                        program.push(Op::Split(program.len() + 1, 0));
                        compile(node, program)?;
                    }
                    for split in splits {
                        program[split] = Op::Split(split + 1, program.len());
                    }
                }
            }
        }
    }
    Ok(())
}

/// How long a made text should and may become.
struct Room {
    wanted: usize,
    left: usize,
}

fn generate(node: &Node, rng: &mut Rng, room: &mut Room, text: &mut String) {
    match node {
        Node::Chars(set) => {
            text.push(set.pick(rng));
            room.left = room.left.saturating_sub(1);
            room.wanted = room.wanted.saturating_sub(1);
        }
        Node::Start | Node::End => {}
        Node::Sequence(nodes) => nodes.iter().for_each(|node| generate(node, rng, room, text)),
        Node::Either(nodes) => {
            // At least one branch is there: the parser makes no empty `Either`.
            let index = rng.below(nodes.len() as u64) as usize;
            generate(&nodes[index], rng, room, text);
        }
        Node::Repeat { node, min, max } => {
            let most = max.unwrap_or(usize::MAX);
            let random = min.saturating_add(rng.below(EXTRA_REPEATS + 1) as usize).min(most);
            let mut done = 0;
            while done < *min || (done < most && room.left > 0 && (done < random || room.wanted > 0)) {
                let before = text.len();
                generate(node, rng, room, text);
                done += 1;
                if text.len() == before {
                    break;
                }
            }
        }
    }
}

impl Set {
    fn contains(&self, c: char) -> bool {
        self.ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)) != self.negated
    }

    /// A character of the set: a readable one if there is one.
    fn pick(&self, rng: &mut Rng) -> char {
        const READABLE: &str = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
        let among = |chars: Vec<char>, rng: &mut Rng| {
            let index = rng.below(chars.len() as u64) as usize;
            chars.get(index).copied()
        };
        among(READABLE.chars().filter(|c| self.contains(*c)).collect(), rng)
            .or_else(|| among((' '..='~').filter(|c| self.contains(*c)).collect(), rng))
            .or_else(|| self.ranges.first().filter(|_| !self.negated).map(|(from, _)| *from))
            .or_else(|| ('\u{a1}'..='\u{2fff}').find(|c| self.contains(*c)))
            // An empty set: nothing matches, which the check after making finds out.
            .unwrap_or('?')
    }
}

struct Parser {
    chars: Vec<char>,
    at: usize,
    depth: usize,
}

impl Parser {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Seed;

    #[test]
    fn matches_like_a_regular_expression() {
        for (pattern, yes, no) in [
            ("^abc$", vec!["abc"], vec!["abcd", "xabc", ""]),
            ("b", vec!["abc", "b"], vec!["ac", ""]),
            ("^a|b$", vec!["ax", "xb"], vec!["xay", "bx"]),
            ("^(a|b){2,3}$", vec!["ab", "bba"], vec!["a", "abab"]),
            ("^[a-c\\d_-]+$", vec!["a-1_"], vec!["d", ""]),
            ("^[^a-c]$", vec!["d", "-"], vec!["a", "dd"]),
            ("^\\D\\S\\W$", vec!["aa "], vec!["1a ", "a  ", "aaa"]),
            ("^[\\D]$", vec!["a"], vec!["1"]),
            ("^a*?b+?c?$", vec!["b", "aabbc"], vec!["a"]),
            ("^(?:x(?<y>z)?)*$", vec!["", "xxz"], vec!["z"]),
            ("^\\u0041\\x42\\.$", vec!["AB."], vec!["ABx"]),
            ("^a{2}b{0}$", vec!["aa"], vec!["a", "aab"]),
            ("^a{,2}$", vec!["a{,2}"], vec!["a"]),
            ("^(()*)*$", vec![""], vec!["a"]),
            ("^.$", vec!["ä", "\u{1F600}"], vec!["\n", ""]),
            ("^[]$", vec![], vec!["", "a"]),
            ("", vec!["", "a"], vec![]),
        ] {
            let parsed = Pattern::parse(pattern).unwrap();
            for text in yes {
                assert!(parsed.matches(text), "{pattern} {text:?}");
            }
            for text in no {
                assert!(!parsed.matches(text), "{pattern} {text:?}");
            }
        }
    }

    #[test]
    fn makes_texts_that_match() {
        for pattern in [
            "^[A-Z]{2}-\\d{4,6}$",
            "^(\\([0-9]{3}\\))?[0-9]{3}-[0-9]{4}$",
            "^\\S+@\\S+\\.\\S+$",
            "^v?\\d+\\.\\d+\\.\\d+(-[0-9A-Za-z.-]+)?$",
            "^(foo|bar|b[ae]z)+$",
            "needle",
            "^[^\\w]$",
            "^\\W\\D\\S$",
            "^#[0-9a-fA-F]{6}$",
            "^$",
            "^[ä-ü]+$",
        ] {
            let parsed = Pattern::parse(pattern).unwrap();
            for seed in 0..200 {
                let text = parsed.make(&mut Rng::new(Seed::new(seed), "t"), 0, 100);
                assert!(parsed.matches(&text), "{pattern} {text:?}");
            }
        }
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for pattern in [
            "(?=a)",
            "(?!a)",
            "(?<=a)b",
            "(?i)a",
            "\\bword\\b",
            "(a)\\1",
            "\\p{L}",
            "(",
            ")",
            "[a",
            "a{3,2}",
            "*",
            "[z-a]",
            "a\\",
            "\\x4",
            "\\ud800",
            "[a-\\d]",
            "(a{200}){200}",
            "a{99999999}",
        ] {
            assert!(Pattern::parse(pattern).is_err(), "{pattern}");
        }
        assert!(Pattern::parse(&"(".repeat(100_000)).is_err());
    }

    #[test]
    fn no_pattern_makes_matching_slow() {
        let pattern = Pattern::parse("^(a+)+$").unwrap();
        assert!(!pattern.matches(&("a".repeat(2_000) + "b")));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(pattern in "[\\\\()\\[\\]{}|*+?^$.,a-c0-3dDwWsSux-]{0,24}", text in ".{0,8}", seed in 0_u64..1_000) {
            if let Ok(parsed) = Pattern::parse(&pattern) {
                parsed.matches(&text);
                parsed.make(&mut Rng::new(Seed::new(seed), ""), 0, 50);
            }
        }
    }
}
