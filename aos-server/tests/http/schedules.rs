//! Schedules: kept over HTTP, met by the clock.

use std::time::Duration;

use aos_core::codes;
use aos_core::id::{ScheduleId, TenantId};
use aos_core::memory::VirtualClock;
use aos_core::schedules::Schedule;
use aos_core::time::Timestamp;
use aos_server::schedule;
use futures::future::join_all;
use serde_json::{Value, json};

use crate::support::Api;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

/// Monday, 3 May 2027, one minute to nine.
fn clock() -> VirtualClock {
    VirtualClock::new(Timestamp::from_millis(1_809_334_740_000))
}

/// Something that is due at nine, every day.
fn daily(workflow: &str) -> Value {
    json!({"workflow": workflow, "cron": "0 9 * * *"})
}

async fn put(api: &Api, id: &str, body: &Value) -> Value {
    let answer = api.put(&format!("/v1/schedules/{id}"), body).await;
    assert!(answer.status.is_success(), "{}", answer.text);
    answer.json()
}

async fn get(api: &Api, id: &str) -> Value {
    api.get(&format!("/v1/schedules/{id}")).await.is(200).json()
}

/// What became of a due time, once somebody has dealt with it: this or the server's own task.
async fn fired(api: &Api, id: &str, due: &str) -> Value {
    for _ in 0..2_000 {
        schedule::fire_due(api.state()).await.unwrap();
        let last = get(api, id).await["last"].clone();
        if last["due"] == due {
            return last;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{id} was not fired for {due}: {}", get(api, id).await);
}

async fn runs_of(api: &Api, workflow: &str) -> Vec<Value> {
    let list = api.get(&format!("/v1/runs?workflow={workflow}&limit=200")).await.is(200).json();
    list["runs"].as_array().unwrap().clone()
}

/// The schedule as the store has it.
async fn kept(api: &Api, id: &str) -> Schedule {
    let schedules = &api.state().control.schedules;
    schedules.get(&TenantId::default(), &ScheduleId::new(id).unwrap()).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_schedule_begins_a_run_at_its_time() {
    let clock = clock();
    let api = Api::scheduled(&clock).await;
    let body = json!({"workflow": "five@^1", "input": {"x": 1}, "cron": "0 9 * * MON-FRI", "time_zone": "Europe/Berlin",
                      "priority": 7});
    let shown = put(&api, "morning", &body).await;
    // Nine o'clock in Berlin is past: tomorrow, then.
    assert_eq!(shown["next_at"], "2027-05-04T07:00:00.000Z");
    assert_eq!((&shown["overlap"], &shown["paused"], &shown["last"]), (&json!("skip"), &json!(false), &Value::Null));
    assert_eq!(schedule::fire_due(api.state()).await.unwrap(), 0);
    clock.advance(DAY - Duration::from_secs(2 * 3_600) + MINUTE);
    let last = fired(&api, "morning", "2027-05-04T07:00:00.000Z").await;
    assert_eq!((&last["run"], &last["error"]), (&json!("morning.1809414000000"), &Value::Null));
    let run = json!({"links": {"self": "/v1/runs/morning.1809414000000"}});
    let run = api.until(&run, &["succeeded"]).await;
    assert_eq!((&run["workflow"], &run["priority"], &run["seed"]), (&json!("five@1.1.0"), &json!(7), &json!(0)));
    assert_eq!(run["output"]["step"], 4);
    assert_eq!(get(&api, "morning").await["next_at"], "2027-05-05T07:00:00.000Z");
    assert_eq!(runs_of(&api, "five").await.len(), 1);
}

#[tokio::test]
async fn the_server_looks_by_itself() {
    let clock = clock();
    let api = Api::scheduled(&clock).await;
    put(&api, "s", &daily("five@1.0.0")).await;
    clock.advance(MINUTE);
    for _ in 0..2_000 {
        if get(&api, "s").await["last"]["run"].is_string() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("nobody fired it");
}

#[tokio::test]
async fn a_server_that_is_about_to_end_fires_nothing() {
    let ends: [fn(&Api); 2] = [|api| api.state().worker.stop(), |api| api.state().leaving.cancel()];
    for ends in ends {
        let clock = clock();
        let api = Api::scheduled(&clock).await;
        put(&api, "s", &daily("five@1.0.0")).await;
        ends(&api);
        clock.advance(MINUTE);
        assert_eq!(schedule::fire_due(api.state()).await.unwrap(), 0);
        assert_eq!(get(&api, "s").await["last"], Value::Null);
    }
}

#[tokio::test]
async fn of_the_times_of_an_outage_the_latest_is_made_up_for() {
    let clock = clock();
    let api = Api::scheduled(&clock).await;
    put(&api, "s", &daily("five@1.0.0")).await;
    clock.advance(DAY * 7 + MINUTE * 5);
    let last = fired(&api, "s", "2027-05-10T09:00:00.000Z").await;
    assert!(last["run"].is_string(), "{last}");
    assert_eq!(get(&api, "s").await["next_at"], "2027-05-11T09:00:00.000Z");
    assert_eq!(runs_of(&api, "five").await.len(), 1);
}

#[tokio::test]
async fn a_time_is_left_out_while_an_earlier_run_goes_on() {
    let clock = clock();
    let api = Api::scheduled(&clock).await;
    put(&api, "s", &daily("approve")).await;
    clock.advance(MINUTE);
    let first = fired(&api, "s", "2027-05-03T09:00:00.000Z").await["run"].clone();
    for due in ["2027-05-04T09:00:00.000Z", "2027-05-05T09:00:00.000Z"] {
        clock.advance(DAY);
        let last = fired(&api, "s", due).await;
        assert_eq!((&last["run"], &last["error"]["code"]), (&first, &json!("ERR_SCHEDULE_OVERLAP")), "{last}");
        assert!(last["error"]["message"].as_str().unwrap().contains(first.as_str().unwrap()), "{last}");
    }
    let path = format!("/v1/runs/{}", first.as_str().unwrap());
    api.post(&format!("{path}/signals/approval"), &json!("yes")).await.is(202);
    api.until(&json!({"links": {"self": path}}), &["succeeded"]).await;
    clock.advance(DAY);
    let last = fired(&api, "s", "2027-05-06T09:00:00.000Z").await;
    assert!(last["error"].is_null() && last["run"] != first, "{last}");
    // With `allow`, runs begin beside it.
    let mut body = daily("approve");
    body["overlap"] = "allow".into();
    put(&api, "s", &body).await;
    clock.advance(DAY);
    assert!(fired(&api, "s", "2027-05-07T09:00:00.000Z").await["error"].is_null());
    assert_eq!(runs_of(&api, "approve").await.len(), 3);
}

#[tokio::test]
async fn a_time_that_fails_says_why_and_the_schedule_goes_on() {
    let clock = clock();
    let api = Api::scheduled(&clock).await;
    put(&api, "s", &daily("broken")).await;
    put(&api, "picky", &json!({"workflow": "five", "input": {"x": 1}, "cron": "0 9 * * *"})).await;
    api.post_empty("/v1/workflows/broken@1.0.0/disable").await.is(200);
    api.post_empty("/v1/workflows/five@1.1.0/disable").await.is(200);
    clock.advance(MINUTE);
    let last = fired(&api, "s", "2027-05-03T09:00:00.000Z").await;
    assert_eq!((&last["run"], &last["error"]["code"]), (&Value::Null, &json!("ERR_WORKFLOW_DISABLED")), "{last}");
    // The version that is left takes anything.
    assert!(fired(&api, "picky", "2027-05-03T09:00:00.000Z").await["run"].is_string());
    api.post_empty("/v1/workflows/broken@1.0.0/enable").await.is(200);
    clock.advance(DAY);
    let last = fired(&api, "s", "2027-05-04T09:00:00.000Z").await;
    assert!(last["error"].is_null() && last["run"].is_string(), "a run that fails is a run: {last}");
    // What somebody has put into the table by hand, or another release.
    let mut odd = kept(&api, "s").await;
    odd.cron = "whenever".into();
    api.state().control.schedules.put(&odd).await.unwrap();
    clock.advance(DAY);
    let last = fired(&api, "s", "2027-05-05T09:00:00.000Z").await;
    assert!(last["error"]["message"].as_str().unwrap().contains("whenever"), "{last}");
    assert_eq!(get(&api, "s").await["next_at"], Value::Null);
    assert!(put(&api, "s", &daily("broken")).await["next_at"].is_string());
}

#[tokio::test]
async fn however_many_fire_a_time_begins_one_run() {
    let clock = clock();
    let api = Api::scheduled(&clock).await;
    let names: Vec<String> = (0..100).map(|n| format!("s{n}")).collect();
    for name in &names {
        put(&api, name, &daily("five@1.0.0")).await;
    }
    clock.advance(MINUTE);
    let counts = join_all((0..8).map(|_| schedule::fire_due(api.state()))).await;
    for count in counts {
        count.unwrap();
    }
    for name in &names {
        assert!(fired(&api, name, "2027-05-03T09:00:00.000Z").await["run"].is_string());
    }
    assert_eq!(runs_of(&api, "five").await.len(), 100);
}

#[tokio::test]
async fn what_a_process_began_and_did_not_record_is_found() {
    let clock = clock();
    let api = Api::scheduled(&clock).await;
    let nine = Timestamp::from_millis(1_809_334_800_000);
    // One died just now; its run is the one.
    put(&api, "now", &daily("five@1.0.0")).await;
    let (record, is_new) = schedule::begin(api.state(), &kept(&api, "now").await, Some(nine)).await.unwrap();
    assert!(is_new);
    // Another one died yesterday, with a run that goes on.
    put(&api, "before", &daily("approve")).await;
    let (before, _) = schedule::begin(api.state(), &kept(&api, "before").await, Some(nine)).await.unwrap();
    // And the definition has changed meanwhile.
    put(&api, "now", &daily("nap")).await;
    clock.advance(MINUTE);
    let last = fired(&api, "now", "2027-05-03T09:00:00.000Z").await;
    assert_eq!((&last["run"], &last["error"]), (&json!(record.new.run), &Value::Null));
    api.post_empty("/v1/schedules/before/pause").await.is(200);
    let mut missed = kept(&api, "before").await;
    (missed.paused, missed.next_at, missed.last) = (false, Some(nine), None);
    api.delete("/v1/schedules/before").await.is(204);
    clock.advance(DAY);
    api.state().control.schedules.put(&missed).await.unwrap();
    let last = fired(&api, "before", "2027-05-04T09:00:00.000Z").await;
    assert_eq!((&last["run"], &last["error"]["code"]), (&json!(before.new.run), &json!(codes::SCHEDULE_OVERLAP)));
}

#[tokio::test]
async fn schedules_are_kept() {
    let clock = clock();
    let api = Api::scheduled(&clock).await;
    assert_eq!(api.get("/v1/schedules").await.is(200).json(), json!({"schedules": []}));
    let answer = api.put("/v1/schedules/b", &daily("five@1.0.0")).await.is(201);
    assert_eq!(answer.header("location"), "/v1/schedules/b");
    let shown = answer.json();
    assert_eq!((&shown["input"], &shown["time_zone"], &shown["priority"]), (&json!({}), &json!("UTC"), &json!(5)));
    assert_eq!(get(&api, "b").await, shown);
    // Due, and not met yet: whoever replaces it by the same times loses nothing.
    api.post_empty("/v1/schedules/b/pause").await.is(200);
    clock.advance(MINUTE);
    let paused = api.put("/v1/schedules/b", &daily("approve")).await.is(200).json();
    assert_eq!(
        (&paused["workflow"], &paused["paused"], &paused["next_at"]),
        (&json!("approve"), &json!(true), &Value::Null)
    );
    put(&api, "a", &json!({"workflow": "nap", "cron": "@hourly", "paused": true})).await;
    let list = api.get("/v1/schedules").await.is(200).json();
    let names: Vec<_> = list["schedules"].as_array().unwrap().iter().map(|schedule| &schedule["id"]).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(schedule::fire_due(api.state()).await.unwrap(), 0, "both are paused");
    // Resumed, the times that passed are past.
    clock.advance(DAY);
    for _ in 0..2 {
        let resumed = api.post_empty("/v1/schedules/b/resume").await.is(200).json();
        assert_eq!(resumed["next_at"], "2027-05-05T09:00:00.000Z");
    }
    let mut body = daily("approve");
    body["paused"] = true.into();
    assert_eq!(put(&api, "b", &body).await["paused"], true);
    body["paused"] = false.into();
    assert_eq!(put(&api, "b", &body).await["paused"], false);
    assert_eq!(get(&api, "b").await["last"], Value::Null);
    api.delete("/v1/schedules/b").await.is(204);
    api.get("/v1/schedules/b").await.problem(404, "ERR_NOT_FOUND");
}

#[tokio::test]
async fn a_due_time_survives_a_replacement_with_the_same_times() {
    let clock = clock();
    let api = Api::scheduled(&clock).await;
    put(&api, "s", &daily("five@1.0.0")).await;
    api.state().leaving.cancel();
    clock.advance(MINUTE);
    for (body, next_at) in [
        (daily("nap"), "2027-05-03T09:00:00.000Z"),
        (json!({"workflow": "nap", "cron": "0 9 * * 1"}), "2027-05-10T09:00:00.000Z"),
        (json!({"workflow": "nap", "cron": "0 9 * * 1", "time_zone": "Asia/Tokyo"}), "2027-05-10T00:00:00.000Z"),
    ] {
        assert_eq!(put(&api, "s", &body).await["next_at"], next_at);
    }
}

#[tokio::test]
async fn a_triggered_run_is_one_beside_the_calendar() {
    let clock = clock();
    let api = Api::scheduled(&clock).await;
    let mut body = daily("five");
    body["input"] = json!({"x": 2});
    put(&api, "s", &body).await;
    api.post_empty("/v1/schedules/s/pause").await.is(200);
    let shown = get(&api, "s").await;
    let run = api.post_empty("/v1/schedules/s/trigger").await.is(201).json();
    assert_eq!(api.until(&run, &["succeeded"]).await["input"], json!({"x": 2}));
    assert_eq!(get(&api, "s").await, shown);
    let again = api.post_empty("/v1/schedules/s/trigger").await.is(201).json();
    assert_ne!(again["id"], run["id"]);
    api.post_empty("/v1/workflows/five@1.1.0/disable").await.is(200);
    api.post_empty("/v1/workflows/five@1.0.0/disable").await.is(200);
    api.post_empty("/v1/schedules/s/trigger").await.problem(409, "ERR_WORKFLOW_DISABLED");
}
