//! The append-only list of entries of one run: its wire form, its chain, and the contract of a store that keeps it.

mod entry;
mod store;

pub use entry::{BlobRef, Entry, EntryError, INLINE_PAYLOAD_BYTES, Line, WIRE_VERSION, blob_refs, decode, encode};
pub use store::{Append, JournalStore, Transition};
