//! `audit search|verify|checkpoint|top-cost`

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::Path;

use aos_core::audit::{Chain, Checkpoint, Stage};
use serde_json::{Value, json};

use super::client::Client;
use super::costs;
use super::ui::{self, CommandError, CommandResult, Exit, Ui, styled};
use crate::audit::{PublicKey, public_key_in};
use crate::cli::{AuditArgs, AuditCommand, SearchArgs};

/// How much of the log is asked for at a time.
const PAGE: usize = 1_000;

/// How much of a record's detail a line shows, in bytes; `-o json` has all of it.
const SHOWN: usize = 200;

pub async fn run(ui: &Ui, client: &Client, args: AuditArgs) -> CommandResult {
    match args.command {
        AuditCommand::Search(search_args) => search(ui, client, search_args).await,
        AuditCommand::Verify { public_key, checkpoint } => {
            verify(ui, client, public_key.as_deref(), checkpoint.as_deref()).await
        }
        AuditCommand::Checkpoint => checkpoint(ui, client).await,
        AuditCommand::TopCost(window) => costs::costs(ui, client, window.by_run(args.target)).await,
    }
}

async fn search(ui: &Ui, client: &Client, args: SearchArgs) -> CommandResult {
    let SearchArgs { text, actor, action, stage, request_id, since, until, limit } = args;
    let stage = stage.map(|stage| stage.as_str().to_owned());
    let mut query = vec![("limit", limit.to_string())];
    let given = [
        ("text", text),
        ("actor", actor),
        ("action", action),
        ("stage", stage),
        ("request_id", request_id),
        ("since", since),
        ("until", until),
    ];
    query.extend(given.into_iter().filter_map(|(name, value)| Some((name, value?))));
    let answer = client.get(&["audit"], &query).await?.json()?;
    let records = answer["records"].as_array().map(Vec::as_slice).unwrap_or_default();
    ui.result(records, |out| {
        if records.is_empty() {
            return writeln!(out, "no records");
        }
        records.iter().try_for_each(|record| line(out, record))
    })?;
    Ok(Exit::Yes)
}

fn line(out: &mut dyn Write, record: &Value) -> io::Result<()> {
    let field = |name: &str| record[name].as_str().unwrap_or_default();
    let style = match Stage::from_text(field("stage")) {
        Some(Stage::Done) => ui::GOOD,
        Some(Stage::Failed) => ui::BAD,
        Some(Stage::Asked) | None => ui::DIM,
    };
    let stage = styled(style, format_args!("{:<6}", field("stage")));
    write!(out, "{:>6}  {}  {stage}  {}", record["seq"].to_string(), field("at"), field("actor"))?;
    write!(out, "  {}  {}", field("action"), field("subject"))?;
    let detail = field("detail");
    if !detail.is_empty() {
        let (begin, end) = detail.split_at(detail.floor_char_boundary(SHOWN));
        // One line, whatever is in it.
        let begin = begin.escape_debug().to_string().replace("\\\"", "\"");
        let more = if end.is_empty() { "" } else { "…" };
        write!(out, "  {}", styled(ui::DIM, format_args!("{begin}{more}")))?;
    }
    writeln!(out)
}

async fn checkpoint(ui: &Ui, client: &Client) -> CommandResult {
    let answer = client.get(&["audit", "checkpoints"], &[("limit", "1".to_owned())]).await?.json()?;
    let Some(last) = answer["checkpoints"].get(0) else {
        ui.note("nothing is signed: AOS_AUDIT_KEY_FILE names the key that a server signs with");
        return Ok(Exit::No);
    };
    ui.result(last, |out| writeln!(out, "{last}"))?;
    Ok(Exit::Yes)
}

/// What a log came to.
#[derive(Default)]
struct Verdict {
    chain: Chain,
    /// The time of its last record.
    until: Option<String>,
    checkpoints: usize,
    /// The last record that is signed.
    signed: u64,
    keys: BTreeSet<String>,
    broken: Option<String>,
}

async fn verify(ui: &Ui, client: &Client, public_key: Option<&Path>, kept: Option<&Path>) -> CommandResult {
    let pinned = public_key.map(public_key_in).transpose().map_err(CommandError::usage)?;
    let mut checkpoints = checkpoints(client).await?;
    if let Some(path) = kept {
        let (seq, kept) = kept_checkpoint(path, pinned.as_ref())?;
        let of_record = checkpoints.entry(seq).or_default();
        if !of_record.contains(&kept) {
            of_record.push(kept);
        }
    }
    let verdict = judge(client, checkpoints, pinned).await?;
    let result = json!({
        "whole": verdict.broken.is_none(),
        "broken": verdict.broken,
        "records": verdict.chain.len(),
        "until": verdict.until,
        "checkpoints": verdict.checkpoints,
        "signed_until": verdict.signed,
        "keys": verdict.keys,
    });
    ui.result(&result, |out| show(out, &verdict, pinned.is_some()))?;
    Ok(if verdict.broken.is_none() { Exit::Yes } else { Exit::No })
}

/// The checkpoint in a file, and the number of its record.
fn kept_checkpoint(path: &Path, pinned: Option<&PublicKey>) -> Result<(u64, Value), CommandError> {
    let file = path.display();
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|e| CommandError::usage(format!("{file} can't be read: {e}")))?;
    let kept: Value = serde_json::from_str(&text).unwrap_or_default();
    let (Some(seq), Some(key)) = (kept["seq"].as_u64(), kept["key"].as_str()) else {
        let message = format!("{file} holds no checkpoint");
        return Err(CommandError::usage(message).hint("`aos-server audit checkpoint` prints one"));
    };
    match pinned {
        Some(pinned) if pinned.to_string() != key => {
            Err(CommandError::usage(format!("the checkpoint in {file} is of the key {key}, and not of {pinned}")))
        }
        _ => Ok((seq, kept)),
    }
}

fn show(out: &mut dyn Write, verdict: &Verdict, is_pinned: bool) -> io::Result<()> {
    let records = verdict.chain.len();
    if let Some(broken) = &verdict.broken {
        writeln!(out, "{}: {broken}", styled(ui::BAD, "broken"))?;
        return writeln!(out, "the {records} record(s) before are as they were written");
    }
    let until = verdict.until.as_deref().unwrap_or("its beginning");
    writeln!(out, "{}: {records} record(s), until {until}", styled(ui::GOOD, "whole"))?;
    if verdict.checkpoints == 0 {
        return writeln!(
            out,
            "none is signed: whoever can write the database could have written all of it anew (AOS_AUDIT_KEY_FILE)"
        );
    }
    let keys = verdict.keys.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    writeln!(out, "signed until record {}, {} checkpoint(s), by {keys}", verdict.signed, verdict.checkpoints)?;
    if verdict.signed < records {
        let after = styled(ui::WARN, format_args!("the {} record(s) after that", records - verdict.signed));
        writeln!(
            out,
            "{after} are signed by nobody: an act that is under way, or written by somebody without the key"
        )?;
    }
    if !is_pinned {
        writeln!(out, "whose keys these are is not known here: --public-key FILE says which one may sign")?;
    }
    Ok(())
}

/// Reads the whole log, and compares it with its checkpoints.
async fn judge(
    client: &Client,
    mut checkpoints: BTreeMap<u64, Vec<Value>>,
    pinned: Option<PublicKey>,
) -> Result<Verdict, CommandError> {
    let mut verdict = Verdict::default();
    loop {
        let records = page(client, &["audit"], "records", verdict.chain.len()).await?;
        for record in &records {
            let checked = verdict.chain.check(record).map_err(|broken| broken.to_string());
            let signed = checkpoints.remove(&verdict.chain.len()).unwrap_or_default();
            let checked = checked.and_then(|()| {
                signed.iter().try_for_each(|checkpoint| verdict.compare(record, checkpoint, pinned.as_ref()))
            });
            if let Err(broken) = checked {
                verdict.broken = Some(broken);
                return Ok(verdict);
            }
            verdict.until = record["at"].as_str().map(ToOwned::to_owned);
        }
        if records.len() < PAGE {
            break;
        }
    }
    let records = verdict.chain.len();
    if let Some((seq, _)) = checkpoints.last_key_value() {
        verdict.broken = Some(format!("records after {records} are missing: there is a checkpoint of record {seq}"));
    } else if let Some(pinned) = pinned
        && verdict.checkpoints == 0
        && records > 0
    {
        verdict.broken = Some(format!("none of {records} record(s) is signed by {pinned}"));
    }
    Ok(verdict)
}

impl Verdict {
    /// Checks a checkpoint of the record that was checked last.
    fn compare(&mut self, record: &Value, checkpoint: &Value, pinned: Option<&PublicKey>) -> Result<(), String> {
        let seq = self.chain.len();
        let field = |name: &str| checkpoint[name].as_str().unwrap_or_default();
        let key: PublicKey = field("key").parse().map_err(|()| format!("a checkpoint of record {seq} has no key"))?;
        // Of a key from before, or somebody else's: it says nothing to whoever trusts one key.
        if pinned.is_some_and(|pinned| *pinned != key) {
            return Ok(());
        }
        let statement = Checkpoint::statement(field("tenant"), seq, field("hash"));
        if !key.has_signed(&statement, field("signature")) {
            return Err(format!("the signature of a checkpoint of record {seq} is not of its key {key}"));
        }
        if record["hash"] != checkpoint["hash"] || record["tenant"] != checkpoint["tenant"] {
            return Err(format!("record {seq} is another one than {key} signed"));
        }
        self.checkpoints += 1;
        self.signed = seq;
        self.keys.insert(key.to_string());
        Ok(())
    }
}

/// Every checkpoint, by its record.
async fn checkpoints(client: &Client) -> Result<BTreeMap<u64, Vec<Value>>, CommandError> {
    let mut all: BTreeMap<u64, Vec<Value>> = BTreeMap::new();
    loop {
        // Those of one record may stand on two pages.
        let after = all.last_key_value().map_or(0, |(seq, _)| seq.saturating_sub(1));
        let page = page(client, &["audit", "checkpoints"], "checkpoints", after).await?;
        let length = page.len();
        let before = all.len();
        for checkpoint in page {
            let of_record = all.entry(checkpoint["seq"].as_u64().unwrap_or(0)).or_default();
            if !of_record.contains(&checkpoint) {
                of_record.push(checkpoint);
            }
        }
        if length < PAGE || all.len() == before {
            return Ok(all);
        }
    }
}

async fn page(client: &Client, path: &[&str], name: &str, after: u64) -> Result<Vec<Value>, CommandError> {
    let query = [("order", "oldest".to_owned()), ("after", after.to_string()), ("limit", PAGE.to_string())];
    let mut answer = client.get(path, &query).await?.json()?;
    Ok(answer[name].as_array_mut().map(std::mem::take).unwrap_or_default())
}
