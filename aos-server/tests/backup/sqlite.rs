//! Backups of a SQLite file, beside the server that uses it.

use aos_testkit::service::program;

use crate::Place;
use crate::ledger::Ledger;
use crate::runs::{create, finish, serve, undisturbed, until_under_way};

const BACK_UPS: [(&str, &str); 2] = [
    ("backup.db", r#"sqlite3 aos.db ".backup backup/backup.db""#),
    ("vacuum.db", r#"sqlite3 aos.db "VACUUM INTO 'backup/vacuum.db'""#),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_go_on_from_a_copied_file() {
    let sqlite = program("sqlite3", "sqlite3").unwrap();
    let place = Place::new(sqlite.parent().unwrap(), Vec::new());
    let url = |file: &str| format!("sqlite://{}", place.path(file).display());

    let ledger = Ledger::start().await;
    let expected = undisturbed(&ledger).await;
    ledger.set_open(false);
    let mut first = serve(&url("aos.db"), &ledger);
    let runs = create(&first.api(), &ledger).await;
    until_under_way(&first.api()).await;
    for (_, line) in BACK_UPS {
        assert_eq!(place.line(line), (String::new(), String::new()));
    }
    first.kill();
    ledger.set_open(true);
    for (file, line) in BACK_UPS {
        let second = serve(&url(&format!("backup/{file}")), &ledger);
        assert_eq!(finish(&second.api(), &runs).await, expected, "{line}");
        assert!(!second.log().contains("ERROR"), "{}", second.log());
    }
}
