//! The append-only list of entries of one run: its wire form, its chain, and the contract of a store that keeps it.

mod decode;
mod encode;
mod entry;
mod store;

pub use decode::{blob_refs, decode};
pub use encode::encode;
pub use entry::{BlobRef, Entry, EntryError, INLINE_PAYLOAD_BYTES, Line, WIRE_VERSION};
pub use store::{Append, JournalStore, Transition};
