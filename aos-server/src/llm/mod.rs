//! Live adapters behind what guards them.

pub mod pace;

pub use pace::{Pace, Ticket};
