//! Reference implementations of every contract, legal in production for embedders.
