//! Whether the Postgres database can be used, found out without changing it.

use aos_core::Failure;

use super::Check;
use crate::backend::postgres::{self, PostgresStores};
use crate::command::ui::Exit;
use crate::config::Secret;

const NAME: &str = "database";

pub(super) async fn check(url: &Secret) -> Check {
    let error = |error, advice: &str| Check::error(NAME, Exit::Unreachable, Failure::from(error).message, advice);
    let stores = match PostgresStores::connect(url.expose()).await {
        Ok(stores) => stores,
        Err(why) => return error(why, "correct DATABASE_URL, or start the database server"),
    };
    let place =
        if stores.is_pooled() { format!("{}, behind a pooler,", stores.place()) } else { stores.place().to_owned() };
    let pending = postgres::pending(&stores).await;
    stores.close().await;
    match pending {
        Ok(pending) if pending.is_empty() => Check::ok(NAME, format!("Postgres at {place} has this release's tables")),
        Ok(pending) => Check::ok(
            NAME,
            format!("Postgres at {place} answers; the server will make {} change(s) to its tables", pending.len()),
        ),
        Err(why) => error(why, "give this user the right to read the tables"),
    }
}
