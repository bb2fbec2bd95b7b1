//! `recost FILE|RUN`: what recorded model calls cost, by the book they were recorded with or by another one.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use aos_core::Failure;
use aos_core::canonical::Hash;
use aos_core::id::RunId;
use aos_core::journal::{Entry, Line};
use aos_core::llm::{PriceBook, Traffic};
use aos_core::money::Money;
use aos_core::replay::golden::{GoldenError, GoldenFile};
use aos_core::replay::verify_chain;
use serde::Serialize;

use super::client::Client;
use super::input::read_text;
use super::settings;
use super::ui::{self, CommandError, CommandResult, Exit, Ui, styled};
use crate::cli::RecostArgs;
use crate::config::{Sources, over_builtin};

/// The traffic of a run, priced again.
#[derive(Debug, Serialize)]
struct Recost {
    /// SHA-256 of the book that everything was priced by; left out when each call was by its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    book: Option<Hash>,
    calls: Vec<Priced>,
    /// Sums over the calls that have both amounts.
    recorded_usd: Money,
    new_usd: Money,
    difference_usd: String,
    /// How many calls have not been priced.
    unpriced: usize,
}

/// One attempt of an effect, priced again.
#[derive(Debug, Serialize)]
struct Priced {
    effect: String,
    attempt: u32,
    model: String,
    recorded_usd: Option<Money>,
    new_usd: Option<Money>,
    difference_usd: Option<String>,
    /// Why there is no new amount.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

pub async fn run(ui: &Ui, sources: Sources, args: RecostArgs) -> CommandResult {
    let path = Path::new(&args.source);
    let given = args.prices.as_deref().map(read_book).transpose()?;
    // The name of a file that is there, or looks like one, is no run's.
    let is_file =
        args.source == "-" || path.exists() || RunId::new(&args.source).is_err() || args.source.ends_with(".jsonl");
    let text = if is_file {
        read_text(path)?
    } else {
        Client::to(sources.clone(), &args.target).await?.get(&["runs", &args.source, "golden"], &[]).await?.text()
    };
    let (entries, enclosed) = entries(&text).map_err(|failure| CommandError::from(failure).about(path))?;
    let is_other = given.is_some();
    let books = match given {
        Some(book) => Books::One(Box::new(book)),
        None => {
            let here = [PriceBook::builtin()?, settings::without_listening(sources, None)?.prices];
            Books::Recorded(here.into_iter().chain(enclosed).map(|book| (book.hash(), book)).collect())
        }
    };
    let recost = Recost::of(&Traffic::of(&entries), &books);
    ui.result(&recost, |out| recost.show(out))?;
    let is_as_expected = recost.unpriced == 0 && (is_other || recost.recorded_usd == recost.new_usd);
    Ok(if is_as_expected { Exit::Yes } else { Exit::No })
}

/// By what to price.
enum Books {
    /// All of it by this one, at the time at which it was recorded.
    One(Box<PriceBook>),
    /// Each call by the book that it was recorded with.
    Recorded(BTreeMap<Hash, PriceBook>),
}

impl Books {
    /// What a call costs, or why that can't be told.
    fn price(&self, call: &Traffic) -> Result<Money, String> {
        let no_price = || format!("there is no price for {:?} at {}", call.model, call.at);
        match (self, &call.price) {
            // Nothing was paid for it, and nothing is.
            (_, None) if call.cost.is_some_and(|cost| cost.is_zero()) => Ok(Money::ZERO),
            (Self::One(book), _) => call.cost_by(book).ok_or_else(no_price),
            (Self::Recorded(_), None) => Err("it was recorded without a price".into()),
            (Self::Recorded(books), Some(price)) => {
                let book = books.get(&price.book);
                let book =
                    book.ok_or_else(|| format!("the price book {} is not here: give it with --prices", price.book))?;
                call.cost_as_recorded(book).ok_or_else(no_price)
            }
        }
    }
}

impl Recost {
    fn of(traffic: &[Traffic], books: &Books) -> Self {
        let calls: Vec<Priced> = traffic.iter().map(|call| Priced::of(call, books)).collect();
        let both = || calls.iter().filter_map(|call| Some((call.recorded_usd?, call.new_usd?)));
        let (recorded, new) = (both().map(|(recorded, _)| recorded).sum(), both().map(|(_, new)| new).sum());
        Self {
            book: match books {
                Books::One(book) => Some(book.hash()),
                Books::Recorded(_) => None,
            },
            recorded_usd: recorded,
            new_usd: new,
            difference_usd: difference(recorded, new),
            unpriced: calls.iter().filter(|call| call.new_usd.is_none()).count(),
            calls,
        }
    }

    fn show(&self, out: &mut dyn Write) -> io::Result<()> {
        for call in &self.calls {
            let amount =
                |amount: Option<Money>| amount.map_or_else(|| "unknown".to_owned(), |amount| format!("${amount}"));
            let name = format!("{}#{}", call.effect, call.attempt);
            write!(out, "{name}  {}  recorded {}  new ", call.model, amount(call.recorded_usd))?;
            match (&call.why, &call.difference_usd) {
                (Some(why), _) => writeln!(out, "{}", styled(ui::WARN, format_args!("unknown: {why}")))?,
                (None, Some(difference)) => writeln!(out, "{}  {difference}", amount(call.new_usd))?,
                (None, None) => writeln!(out, "{}", amount(call.new_usd))?,
            }
        }
        writeln!(out, "total  recorded ${}  new ${}  {}", self.recorded_usd, self.new_usd, self.difference_usd)?;
        if self.unpriced > 0 {
            writeln!(out, "{}", styled(ui::WARN, format_args!("not in it, for want of a price: {}", self.unpriced)))?;
        }
        Ok(())
    }
}

impl Priced {
    fn of(call: &Traffic, books: &Books) -> Self {
        let (new, why) = match books.price(call) {
            Ok(new) => (Some(new), None),
            Err(why) => (None, Some(why)),
        };
        Self {
            effect: call.effect.to_string(),
            attempt: call.attempt,
            model: call.model.clone(),
            recorded_usd: call.cost,
            new_usd: new,
            difference_usd: call.cost.zip(new).map(|(recorded, new)| difference(recorded, new)),
            why,
        }
    }
}

/// How much dearer, `+0.5`, or cheaper, `-0.5`, the new amount is; `0` for neither.
fn difference(recorded: Money, new: Money) -> String {
    let (more, less) = (new.saturating_sub(recorded), recorded.saturating_sub(new));
    match (more.is_zero(), less.is_zero()) {
        (false, _) => format!("+{more}"),
        (_, false) => format!("-{less}"),
        _ => "0".to_owned(),
    }
}

fn read_book(path: &Path) -> Result<PriceBook, CommandError> {
    over_builtin(&read_text(path)?).map_err(|failure| {
        CommandError::new(Exit::Usage, failure).about(path).hint("docs/src/money.md says what a price book looks like")
    })
}

/// The entries of a golden file, with the price books that it encloses, or those of a journal without a header.
fn entries(text: &str) -> Result<(Vec<Entry>, Vec<PriceBook>), Failure> {
    match GoldenFile::parse(text) {
        Ok(golden) => {
            let books = golden.blobs.iter().filter_map(|blob| PriceBook::parse(blob.as_str()).ok());
            Ok((golden.verify_chain()?, books.collect()))
        }
        // It begins with no header: perhaps with an entry.
        Err(GoldenError::Malformed { line: 1, .. }) => {
            let lines: Vec<Line> = text.lines().map(Line::new).collect();
            Ok((verify_chain(&lines, &|_| None)?, Vec::new()))
        }
        Err(error) => Err(error.into()),
    }
}
