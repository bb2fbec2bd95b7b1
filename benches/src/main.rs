//! Benchmarks that need a process of their own; the small ones are in `benches/`.

fn main() {}
