//! Commands of a page, and what they print.
//!
//! A `sh` block is run by bash. The `text` block that follows it, if any, lists lines that its output has, in this
//! order: `…` stands for anything within a line, and `<hash>` for the same 64 hex digits wherever it stands on a page.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

use std::fmt::Write as _;
use std::process::{Command, Stdio};

const MARK: &str = "@@@ block";

/// A block of commands, and the lines that its output must have.
#[derive(Debug, Default)]
pub struct Block {
    /// The line of the page where the commands begin.
    pub line: usize,
    pub script: String,
    pub expected: Vec<String>,
}

/// The blocks of a page.
pub fn blocks(page: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut fence: Option<String> = None;
    // Whether nothing but text has stood between a block of commands and here.
    let mut may_expect = false;
    for (number, line) in (1..).zip(page.lines()) {
        match (&fence, line.strip_prefix("```")) {
            (None, Some(language)) => {
                match language {
                    "sh" => blocks.push(Block { line: number + 1, ..Block::default() }),
                    "text" => {}
                    _ => may_expect = false,
                }
                fence = Some(language.to_owned());
            }
            (Some(language), Some(_)) => {
                may_expect = language == "sh";
                fence = None;
            }
            (Some(language), None) if language == "sh" => {
                let block = blocks.last_mut().unwrap();
                block.script.push_str(line);
                block.script.push('\n');
            }
            (Some(language), None) if language == "text" && may_expect => {
                blocks.last_mut().unwrap().expected.push(line.trim().to_owned());
            }
            _ => {}
        }
    }
    blocks
}

/// Runs the commands in order, in one shell, and holds what they print against what the page says.
pub fn run(page: &str, blocks: &[Block], replaced: impl Fn(&str) -> String, bash: &mut Command) {
    let mut script = String::from("exec 2>&1\n");
    for block in blocks {
        write!(script, "echo '{MARK}'\n{}\necho\n", replaced(&block.script)).unwrap();
    }
    let output = bash.args(["-c", &script]).stdin(Stdio::null()).output().unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    let outputs: Vec<_> = output.split(&format!("{MARK}\n")).skip(1).collect();
    assert_eq!(outputs.len(), blocks.len(), "{page}: the shell ended early: {output}");
    let mut hash = None;
    for (block, output) in blocks.iter().zip(outputs) {
        println!("{page}:{}\n{}{output}", block.line, block.script);
        let mut lines = output.lines();
        for expected in &block.expected {
            let found = lines.by_ref().any(|line| fits(line, expected, &mut hash));
            let Block { line, script, .. } = block;
            assert!(found, "{page}:{line}: after\n{script}\n{expected:?} is not, or not in this place, in\n{output}");
        }
    }
}

/// Whether the line has the parts between the `…` of `expected`, in this order.
fn fits(line: &str, expected: &str, hash: &mut Option<String>) -> bool {
    let mut rest = line;
    for part in expected.split('…') {
        let (before, after) = part.split_once("<hash>").map_or((part, None), |(b, a)| (b, Some(a)));
        let Some(at) = rest.find(before) else { return false };
        rest = &rest[at + before.len()..];
        let Some(after) = after else { continue };
        let Some(found) = rest.get(..64).filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit())) else {
            return false;
        };
        if hash.get_or_insert_with(|| found.to_owned()) != found || !rest[64..].starts_with(after) {
            return false;
        }
        rest = &rest[64 + after.len()..];
    }
    true
}
