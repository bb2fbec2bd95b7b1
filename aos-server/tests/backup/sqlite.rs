//! Backups of a SQLite file, beside the server that uses it.

use aos_testkit::service::program;

use crate::ledger::Ledger;
use crate::runs::{create, finish, serve, undisturbed, until_under_way};
use crate::{PAGE, Place};

const BACK_UPS: [(&str, &str); 2] = [
    ("aos.db", r#"sqlite3 aos-data/aos.db ".backup backup/aos.db""#),
    ("aos_$(date +%Y%m%d).db", r#"sqlite3 aos-data/aos.db "VACUUM INTO 'backup/aos_$(date +%Y%m%d).db'""#),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_go_on_from_a_copied_file() {
    let sqlite = program("sqlite3", "sqlite3").unwrap();
    let place = Place::new(sqlite.parent().unwrap(), Vec::new());
    let url = |file: &str| format!("sqlite://{}", place.path(file).display());

    let ledger = Ledger::start().await;
    let expected = undisturbed(&ledger).await;
    ledger.set_open(false);
    let mut first = serve(&url("aos-data/aos.db"), &ledger);
    let runs = create(&first.api(), &ledger).await;
    until_under_way(&first.api()).await;
    for (_, line) in BACK_UPS {
        assert!(PAGE.contains(line), "the book does not say {line}");
        assert_eq!(place.line(line), (String::new(), String::new()));
    }
    first.kill();
    ledger.set_open(true);
    for (file, line) in BACK_UPS {
        let (file, _) = place.line(&format!("echo -n backup/{file}"));
        let second = serve(&url(&file), &ledger);
        assert_eq!(finish(&second.api(), &runs).await, expected, "{line}");
        assert!(!second.log().contains("ERROR"), "{}", second.log());
    }
}
