//! Over a real socket: the server answers, streams, survives callers that go away, and ends in order.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::support::Api;

struct Served {
    address: SocketAddr,
    shutdown: oneshot::Sender<()>,
    serving: JoinHandle<()>,
    http: reqwest::Client,
}

impl Served {
    async fn new(api: Api) -> Self {
        Self::leaving_after(api, Duration::ZERO).await
    }

    async fn leaving_after(api: Api, delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (shutdown, asked) = oneshot::channel();
        let serving = tokio::spawn(async move {
            let asked = async { asked.await.unwrap() };
            api.running.serve(listener, delay, asked).await.unwrap();
        });
        Self { address, shutdown, serving, http: reqwest::Client::new() }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        let answer = self.http.post(self.url(path)).json(body).send().await.unwrap();
        answer.json().await.unwrap()
    }

    async fn get(&self, path: &str) -> Value {
        self.http.get(self.url(path)).send().await.unwrap().json().await.unwrap()
    }

    async fn stop(self) {
        self.shutdown.send(()).unwrap();
        self.serving.await.unwrap();
    }
}

#[tokio::test]
async fn many_callers_at_once() {
    let served = Served::new(Api::new().await).await;
    let runs = futures::future::join_all((0..64).map(|n| {
        let body = json!({"workflow": "five@1.0.0", "input": n});
        let served = &served;
        async move { served.post("/v1/runs?wait=30s", &body).await }
    }));
    let runs = runs.await;
    assert!(runs.iter().all(|run| run["state"] == "succeeded"), "{runs:?}");
    served.stop().await;
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_undo_its_run() {
    let served = Served::new(Api::new().await).await;
    let body = json!({"workflow": "five@1.0.0", "input": "gone"}).to_string();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        let head = format!(
            "POST /v1/runs?wait=30s HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for _ in 0..2_000 {
        let list = served.get("/v1/runs").await;
        let runs = list["runs"].as_array().unwrap().clone();
        if !runs.is_empty() && runs.iter().all(|run| run["state"] == "succeeded") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let list = served.get("/v1/runs").await;
    let runs = list["runs"].as_array().unwrap();
    assert!(!runs.is_empty() && runs.iter().all(|run| run["state"] == "succeeded"), "{list}");
    served.stop().await;
}

#[tokio::test]
async fn events_come_as_they_happen() {
    let served = Served::new(Api::new().await).await;
    let run = served.post("/v1/runs", &json!({"workflow": "approve"})).await;
    let path = run["links"]["self"].as_str().unwrap().to_owned();
    let mut stream = served.http.get(served.url(&format!("{path}/events"))).send().await.unwrap();
    let first = stream.chunk().await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&first).contains("run_started"));
    served.post(&format!("{path}/signals/approval"), &json!("yes")).await;
    let mut rest = String::new();
    while let Some(chunk) = stream.chunk().await.unwrap() {
        rest.push_str(&String::from_utf8_lossy(&chunk));
    }
    assert!(rest.contains("event: end") && rest.contains("\"output\":\"yes\""), "{rest}");
    served.stop().await;
}

#[tokio::test]
async fn a_shutdown_finishes_runs_in_hand_and_answers_who_waits() {
    let served = Served::new(Api::new().await).await;
    let napping = served.http.post(served.url("/v1/runs?wait=60s")).json(&json!({"workflow": "nap", "input": 300}));
    let waiting = served.http.post(served.url("/v1/runs?wait=60s")).json(&json!({"workflow": "approve"}));
    let napping = tokio::spawn(async move { napping.send().await.unwrap().json::<Value>().await.unwrap() });
    let waiting = tokio::spawn(async move { waiting.send().await.unwrap() });
    while served.get("/v1/runs").await["runs"].as_array().unwrap().len() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let events = served.get("/v1/runs?workflow=approve").await["runs"][0]["links"]["events"].clone();
    let following = served.http.get(served.url(events.as_str().unwrap())).send().await.unwrap();
    served.stop().await;
    assert_eq!(napping.await.unwrap()["state"], "succeeded");
    let waiting = waiting.await.unwrap();
    assert_eq!(waiting.status(), 202);
    assert!(following.text().await.unwrap().contains("run_started"));
}

#[tokio::test]
async fn a_server_that_is_asked_to_end_is_not_ready_and_answers_all_the_same() {
    let Served { address, shutdown, serving, http } =
        Served::leaving_after(Api::new().await, Duration::from_secs(3_600)).await;
    let url = |path: &str| format!("http://{address}{path}");
    let ready = async || http.get(url("/health/ready")).send().await.unwrap();
    let before = ready().await;
    assert_eq!((before.status().as_u16(), before.headers().get("connection")), (200, None));
    shutdown.send(()).unwrap();
    while ready().await.status() == 200 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let after = ready().await;
    assert_eq!(after.headers()["connection"], "close", "the next request is somebody else's");
    let after: Value = after.json().await.unwrap();
    assert_eq!((&after["ready"], &after["checks"]["worker"]["ok"]), (&json!(false), &json!(false)), "{after}");
    for n in 0..3 {
        let body = json!({"workflow": "five@1.0.0", "input": n});
        let run = http.post(url("/v1/runs?wait=30s")).json(&body).send().await.unwrap();
        assert_eq!((run.status().as_u16(), &run.headers()["connection"]), (201, &"close".parse().unwrap()));
        assert_eq!(run.json::<Value>().await.unwrap()["state"], "succeeded");
    }
    serving.abort();
}
