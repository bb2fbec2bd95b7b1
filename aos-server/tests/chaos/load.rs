//! Clients that create runs, over and over, and remember what was acknowledged.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aos_core::random::{Rng, Seed};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::api::Api;
use crate::workflows::{VARIANTS, input};

const CLIENTS: usize = 6;

/// A run that a client wants, under an idempotency key of its own.
#[derive(Clone, Debug)]
pub struct Order {
    pub key: String,
    pub workflow: &'static str,
    pub n: u64,
    /// The run's id, once a server has answered with 2xx.
    pub run: Option<String>,
    /// How often it was asked for; more than once when no answer came, or to see whether the same run comes.
    pub asked: u32,
}

/// The clients. They stop when this is dropped.
pub struct Load {
    shared: Arc<Shared>,
    server: watch::Sender<Option<Api>>,
    tasks: Vec<JoinHandle<()>>,
}

struct Shared {
    orders: Mutex<Vec<Order>>,
    /// Answers that should not have come.
    complaints: Mutex<Vec<String>>,
    acknowledged: watch::Sender<u64>,
    /// Acknowledgements after which clients rest.
    limit: watch::Sender<u64>,
}

impl Load {
    /// Clients that rest for less than `pace` milliseconds after each answer. They do nothing yet.
    pub fn start(seed: u64, pace: u64, workflows: Vec<&'static str>, ledger: SocketAddr) -> Self {
        let shared = Arc::new(Shared {
            orders: Mutex::default(),
            complaints: Mutex::default(),
            acknowledged: watch::Sender::new(0),
            limit: watch::Sender::new(0),
        });
        let server = watch::Sender::new(None);
        let client = |number| Client {
            number,
            pace,
            rng: Rng::new(Seed::new(seed), &format!("client {number}")),
            shared: Arc::clone(&shared),
            server: server.subscribe(),
            workflows: workflows.clone(),
            ledger,
            mine: Vec::new(),
        };
        let tasks = (0..CLIENTS).map(|number| tokio::spawn(client(number).work())).collect();
        Self { shared, server, tasks }
    }

    /// Tells the clients whom to ask, and that they may create that many runs.
    pub fn begin(&self, api: Api, runs: u64) {
        self.shared.limit.send_replace(self.acknowledged() + runs);
        self.server.send_replace(Some(api));
    }

    /// Tells the clients that there is nobody to ask.
    pub fn pause(&self) {
        self.server.send_replace(None);
    }

    pub fn acknowledged(&self) -> u64 {
        *self.shared.acknowledged.borrow()
    }

    pub async fn until_acknowledged(&self, count: u64) {
        let mut acknowledged = self.shared.acknowledged.subscribe();
        acknowledged.wait_for(|now| *now >= count).await.unwrap();
    }

    pub fn orders(&self) -> Vec<Order> {
        self.shared.orders.lock().unwrap().clone()
    }

    pub fn complaints(&self) -> Vec<String> {
        self.shared.complaints.lock().unwrap().clone()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

struct Client {
    number: usize,
    pace: u64,
    rng: Rng,
    shared: Arc<Shared>,
    server: watch::Receiver<Option<Api>>,
    workflows: Vec<&'static str>,
    ledger: SocketAddr,
    /// Its own orders, by their place among all.
    mine: Vec<usize>,
}

impl Client {
    async fn work(mut self) {
        loop {
            let Ok(server) = self.server.wait_for(Option::is_some).await.map(|api| api.clone()) else { return };
            let Some(api) = server else { continue };
            match self.next() {
                Some(place) => self.ask(&api, place).await,
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
            tokio::time::sleep(Duration::from_millis(self.rng.below(self.pace))).await;
        }
    }

    /// An order without an answer before all others, and now and then one that has been answered.
    fn next(&mut self) -> Option<usize> {
        let mut orders = self.shared.orders.lock().unwrap();
        if let Some(place) = self.mine.iter().copied().find(|place| orders[*place].run.is_none()) {
            return Some(place);
        }
        if !self.mine.is_empty() && self.rng.below(8) == 0 {
            return Some(self.mine[self.rng.below(self.mine.len() as u64) as usize]);
        }
        if *self.shared.acknowledged.borrow() >= *self.shared.limit.borrow() {
            return None;
        }
        let workflow = self.workflows[self.rng.below(self.workflows.len() as u64) as usize];
        let key = format!("client-{}-order-{}", self.number, self.mine.len());
        self.mine.push(orders.len());
        orders.push(Order { key, workflow, n: self.rng.below(VARIANTS), run: None, asked: 0 });
        self.mine.last().copied()
    }

    async fn ask(&self, api: &Api, place: usize) {
        let order = {
            let mut orders = self.shared.orders.lock().unwrap();
            orders[place].asked += 1;
            orders[place].clone()
        };
        let body = json!({"workflow": order.workflow, "input": input(order.n, self.ledger)});
        // No answer: the order stays open, and the next server is asked under the same key.
        let Some((status, answer)) = api.post("/v1/runs", Some(&order.key), &body).await else { return };
        let run = answer["id"].as_str().filter(|_| status.is_success());
        let complaint = match (run, order.run) {
            (None, _) => format!("{} was answered with {status}: {answer}", order.key),
            (Some(run), None) => return self.acknowledge(place, run),
            (Some(run), Some(before)) if run == before => return,
            (Some(run), Some(before)) => format!("{} made two runs: {before} and {run}", order.key),
        };
        self.shared.complaints.lock().unwrap().push(complaint);
    }

    fn acknowledge(&self, place: usize, run: &str) {
        self.shared.orders.lock().unwrap()[place].run = Some(run.to_owned());
        self.shared.acknowledged.send_modify(|count| *count += 1);
    }
}
