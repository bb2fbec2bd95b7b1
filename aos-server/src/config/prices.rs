//! What calls of models cost: the prices of this release, and the operator's.

use aos_core::llm::PriceBook;

use crate::config::reader::{Reader, path};
use crate::config::table;

pub(crate) fn read(reader: &mut Reader) -> Option<PriceBook> {
    let book = reader.try_optional(&table::PRICES, |text| {
        let path = path(text).ok_or("a path has no NUL")?;
        let json = std::fs::read_to_string(&path).map_err(|e| format!("{} can't be read: {e}", path.display()))?;
        over_builtin(&json).map_err(|failure| format!("{}: {}", path.display(), failure.message))
    });
    book.and_then(|book| book.or_else(|| PriceBook::builtin().ok()))
}

/// The prices of this release with those of a file over them.
///
/// # Errors
/// Every mistake in the file.
pub fn over_builtin(json: &str) -> Result<PriceBook, aos_core::Failure> {
    PriceBook::builtin()?.with(PriceBook::parse(json)?)
}
