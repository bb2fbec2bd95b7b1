//! Regular expressions as JSON Schema's `pattern` has them: texts that match one are made, and texts are matched.
//!
//! The subset: literals, `.`, classes, `\d \w \s` and their opposites, groups, `|`, greedy and lazy quantifiers, `^`
//! and `$`. Look-around, back-references and Unicode properties are refused by name. Matching simulates an automaton,
//! so that no pattern makes it slow or deep.

mod parse;

use crate::random::Rng;

use parse::Parser;

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
        let root = Parser::parse(text)?;
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

#[cfg(test)]
mod tests;
