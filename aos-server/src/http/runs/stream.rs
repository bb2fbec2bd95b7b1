//! Journals: as JSON lines, and entry by entry as they come.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use aos_core::id::RunId;
use aos_core::journal::Line;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::{Stream, stream};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout_at};

use crate::http::params::{Params, PathOf, run_id};
use crate::http::problem::{ApiError, ApiResult, Problem};
use crate::http::runs::find;
use crate::http::view::RunView;
use crate::hub::{Heard, Reader, Watch};
use crate::llm::Pieces;
use crate::state::AppState;

/// Lines read from the store at a time.
const PAGE: usize = 500;

/// How often to look at the store for entries that another process may write.
const LOOK: Duration = Duration::from_secs(1);

/// Which part of a journal to give.
#[derive(Clone, Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct JournalQuery {
    /// Index of the first entry wanted; 0 when it is left out.
    #[serde(default)]
    pub from: u64,
}

/// Gives a run's journal, as it is now.
#[utoipa::path(
    get, path = "/v1/runs/{id}/journal", tag = "runs", operation_id = "getJournal",
    params(("id" = String, Path, description = "The run's id"), JournalQuery),
    responses(
        (status = 200, body = String, content_type = "application/x-ndjson",
            description = "The entries as they are stored, one line of canonical JSON each"),
        (status = 404, body = Problem, description = "There is no such run"),
    )
)]
pub async fn get_journal(
    State(state): State<AppState>,
    PathOf(id): PathOf<String>,
    Params(query): Params<JournalQuery>,
) -> ApiResult<Response> {
    let run = run_id(&id)?;
    // The first page is read before the answer begins, so that a failure can still be one.
    let first = read(&state, &run, query.from).await?;
    let pages = stream::unfold(Some((query.from, Some(first))), move |at| {
        let (state, run) = (state.clone(), run.clone());
        async move {
            let (from, page) = at?;
            let page = match page {
                Some(page) => page,
                None => match read(&state, &run, from).await {
                    Ok(page) => page,
                    // The answer has begun: breaking it off is the only way left to say that it is not whole.
                    Err(error) => return Some((Err(std::io::Error::other(error.failure().to_string())), None)),
                },
            };
            let next = (page.len() == PAGE).then(|| (from + page.len() as u64, None));
            Some((Ok::<_, std::io::Error>(text(&page)), next))
        }
    });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(pages)).into_response())
}

fn text(page: &[Line]) -> String {
    page.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
}

async fn read(state: &AppState, run: &RunId, from: u64) -> ApiResult<Vec<Line>> {
    Ok(state.host.stores.journal.read(&state.tenant, run, from, PAGE).await?)
}

/// Follows a run: its entries as server-sent events.
///
/// Every entry is an event `entry` whose id is the entry's index and whose data is the entry as it is stored. While a model
/// writes an answer that its step wants to be shown, events `delta` have `effect`, `attempt`, `seq` and the pieces; they are
/// not kept, and some may be lost: what counts is the entry that follows. After the last entry comes an event `end` with
/// the run, and the stream ends. A reader that comes back with `Last-Event-ID` goes on after that entry.
#[utoipa::path(
    get, path = "/v1/runs/{id}/events", tag = "runs", operation_id = "followRun",
    params(("id" = String, Path, description = "The run's id"),
        ("Last-Event-ID" = Option<u64>, Header, description = "Index of the last entry seen")),
    responses(
        (status = 200, body = String, content_type = "text/event-stream", description = "The entries as they come"),
        (status = 204, description = "The run has ended and the reader has seen everything: don't come back"),
        (status = 404, body = Problem, description = "There is no such run"),
    )
)]
pub async fn follow_run(
    State(state): State<AppState>,
    PathOf(id): PathOf<String>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let run = run_id(&id)?;
    let from = resume_from(&headers)?;
    // Watched before it is read, so that nothing in between is lost.
    let (watch, reader) = (state.hub.watch(&run), state.hub.read_along(&run));
    let record = find(&state, &run).await?;
    let first = read(&state, &run, from).await?;
    if from > 0 && first.is_empty() && record.state.is_terminal() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let follow = Follow {
        state,
        run,
        next: from,
        ready: first.into(),
        watch,
        reader,
        look: true,
        ended: record.state.is_terminal(),
    };
    Ok(Sse::new(events(follow)).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))).into_response())
}

fn resume_from(headers: &HeaderMap) -> ApiResult<u64> {
    let Some(value) = headers.get("last-event-id") else { return Ok(0) };
    let seen = value.to_str().ok().and_then(|text| text.trim().parse::<u64>().ok());
    seen.and_then(|seen| seen.checked_add(1)).ok_or_else(|| {
        ApiError::invalid("the Last-Event-ID header is not the index of an entry: expected a whole number")
    })
}

struct Follow {
    state: AppState,
    run: RunId,
    /// Index of the next entry to send.
    next: u64,
    ready: VecDeque<Line>,
    watch: Watch,
    reader: Reader,
    /// Whether there may be entries in the store that were not read.
    look: bool,
    /// Whether the run had ended before the journal was read last.
    ended: bool,
}

fn events(follow: Follow) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(Some(follow), |follow| async {
        let mut follow = follow?;
        if let Some(event) = follow.next().await {
            return Some((Ok(event), Some(follow)));
        }
        follow.end().await.map(|event| (Ok(event), None))
    })
}

impl Follow {
    /// The next entry, or the next pieces of an answer, once there are any; `None` when none will come.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                let event = Event::default().event("entry").id(self.next.to_string()).data(line.as_str());
                self.next += 1;
                return Some(event);
            }
            if self.look {
                match read(&self.state, &self.run, self.next).await {
                    Ok(page) if !page.is_empty() => {
                        self.ready = page.into();
                        continue;
                    }
                    // The reader comes back with the last id and goes on when the store does.
                    Err(_) => return None,
                    Ok(_) if self.ended => return None,
                    Ok(_) => self.look = false,
                }
            }
            tokio::select! {
                () = self.state.stopping.cancelled() => return None,
                pieces = self.reader.next() => return delta(&pieces),
                heard = timeout_at(Instant::now() + LOOK, self.watch.progress()) => match heard {
                    Ok(Heard::Here(progress)) => self.ended = progress.finished,
                    Ok(Heard::Further) => {}
                    Ok(Heard::Changed) | Err(_) => self.ended = find(&self.state, &self.run).await.ok()?.state.is_terminal(),
                },
            }
            self.look = true;
        }
    }

    /// The run, if it has ended and not merely this stream.
    async fn end(&self) -> Option<Event> {
        let record = find(&self.state, &self.run).await.ok().filter(|record| record.state.is_terminal())?;
        Event::default().event("end").json_data(RunView::from(record)).ok()
    }
}

fn delta(pieces: &Pieces) -> Option<Event> {
    let Pieces { effect, attempt, seq, deltas, .. } = pieces;
    let deltas: &RawValue = serde_json::from_str(deltas).ok()?;
    let data = serde_json::json!({"effect": effect, "attempt": attempt, "seq": seq, "deltas": deltas});
    Event::default().event("delta").json_data(data).ok()
}
