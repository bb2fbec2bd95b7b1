//! What became of the fleet under each kind of fault.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::cluster::{COUNTED, Cluster};
use crate::fault::Fault;

#[derive(Default)]
pub struct Tally {
    kinds: BTreeMap<&'static str, Row>,
    last: Row,
    /// What the fleet had counted when the last fault was over.
    counted: [u64; COUNTED.len()],
}

/// What happened under faults of one kind.
#[derive(Clone, Copy, Default)]
struct Row {
    faults: u64,
    runs: u64,
    counted: [u64; COUNTED.len()],
    /// From the end of the fault until every run had ended and was accounted for, at most.
    settled: Duration,
}

impl Tally {
    /// Enters a fault: so many runs were created while it happened, and so long did the fleet take to settle.
    pub async fn enter(&mut self, fault: Fault, cluster: &Cluster, runs: u64, settled: Duration) {
        let before = self.counted;
        for (count, name) in self.counted.iter_mut().zip(COUNTED) {
            *count = cluster.total(name).await;
        }
        let counted = std::array::from_fn(|n| self.counted[n] - before[n]);
        self.last = Row { faults: 1, runs, counted, settled };
        self.kinds.entry(fault.name()).or_default().add(&self.last);
    }

    /// The fault entered last.
    pub fn last(&self) -> String {
        let Row { runs, counted: [rescued, fenced], settled, .. } = self.last;
        format!("{runs} runs, {rescued} rescued, {fenced} fenced, settled in {:.1} s", settled.as_secs_f64())
    }
}

impl Row {
    fn add(&mut self, other: &Self) {
        self.faults += other.faults;
        self.runs += other.runs;
        self.counted = std::array::from_fn(|n| self.counted[n] + other.counted[n]);
        self.settled = self.settled.max(other.settled);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<34} {:>6} {:>6} {:>8} {:>7} {:>13}",
            "fault", "times", "runs", "rescued", "fenced", "settled in s"
        )?;
        let mut all = Row::default();
        for (name, row) in &self.kinds {
            all.add(row);
            write_row(f, name, row)?;
        }
        write_row(f, "all", &all)
    }
}

fn write_row(f: &mut fmt::Formatter<'_>, name: &str, row: &Row) -> fmt::Result {
    let Row { faults, runs, counted: [rescued, fenced], settled } = row;
    writeln!(f, "{name:<34} {faults:>6} {runs:>6} {rescued:>8} {fenced:>7} {:>13.1}", settled.as_secs_f64())
}
