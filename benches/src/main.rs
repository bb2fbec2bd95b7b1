//! Load commands: what needs a process, a disk and many runs. Small benchmarks are in `benches/` (criterion).

#![allow(clippy::print_stdout, reason = "a command that prints its figures")]

mod idle;
mod llm;
mod load;
mod percentile;
mod tables;
mod w1;

use clap::Parser;

// As the server has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures AOS under load, each figure beside a floor measured in the same run.
#[derive(Parser)]
enum Command {
    /// Runs of five sequential recorded steps of 200 bytes, each durable before the next one starts.
    W1(w1::Options),
    /// Memory of a server that answers W1 for ten minutes: fails if it grows.
    Soak(w1::soak::Options),
    /// What AOS adds to a call of a model, beside direct calls of the same provider.
    Llm(llm::Options),
    /// What a server takes that has nothing to do: time to be ready, memory.
    Idle(idle::Options),
    /// Lists, claims and retention beside a million ended runs and a long queue, on Postgres.
    Tables(tables::Options),
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    match Command::parse() {
        Command::W1(options) => w1::run(&options).await,
        Command::Soak(options) => w1::soak::run(&options).await,
        Command::Llm(options) => llm::run(&options).await,
        Command::Idle(options) => idle::run(&options).await,
        Command::Tables(options) => tables::run(&options).await,
    }
}
