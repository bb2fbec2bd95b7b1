//! What every run must come to: the content hash of an undisturbed run of the same workflow and input.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::api::Api;
use crate::ledger::Ledger;
use crate::process::{Process, aos};
use crate::workflows::{Kind, VARIANTS, input, notes};

/// Content hashes by workflow and `n`.
pub type Expected = BTreeMap<(&'static str, u64), String>;

/// Runs every workflow with every input on a server that nobody disturbs, on a SQLite file.
pub async fn undisturbed(http: &reqwest::Client, ledger: &Ledger, kinds: &[Kind]) -> Expected {
    let directory = tempfile::tempdir().unwrap();
    let server = Process::spawn(&mut on_sqlite(directory.path(), ledger.address));
    let api = Api::new(http, &server.url());
    register(&api, kinds).await;
    let runs = kinds.iter().flat_map(|kind| (0..VARIANTS).map(move |n| (kind.id, n)));
    let runs = runs.map(async |(workflow, n)| {
        let run = api.run(workflow, input(n, ledger.address)).await;
        ((workflow, n), run["content_hash"].as_str().unwrap().to_owned())
    });
    let expected: Expected = futures::future::join_all(runs).await.into_iter().collect();
    let sent = ledger.take();
    for (path, count) in [("/note", notes(kinds)), ("/once", VARIANTS as usize), ("/down", VARIANTS as usize)] {
        assert_eq!(sent[path].len(), count, "{path}: a workflow does not do what its test says");
    }
    server.kill();
    expected
}

/// A server on a SQLite file in `directory`.
pub fn on_sqlite(directory: &Path, ledger: SocketAddr) -> Command {
    let mut serve = aos("serve");
    serve.current_dir(directory).env("AOS_HTTP_ALLOW", ledger.to_string());
    serve
}

pub async fn register(api: &Api, kinds: &[Kind]) {
    for kind in kinds {
        api.register(&kind.definition).await;
    }
}
