//! What the runs act upon: an HTTP server that answers some requests only when it is told to.

use std::net::SocketAddr;

use axum::Router;
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

pub struct Ledger {
    pub address: SocketAddr,
    open: watch::Sender<bool>,
}

impl Ledger {
    pub async fn start() -> Self {
        let open = watch::Sender::new(true);
        let gate = open.subscribe();
        let held = move || {
            let mut gate = gate.clone();
            async move {
                // The sender lives as long as the server.
                let _ = gate.wait_for(|open| *open).await;
                done()
            }
        };
        let router = Router::new().route("/note", post(async || done())).route("/held", post(held));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, open }
    }

    /// Whether requests to `/held` are answered.
    pub fn set_open(&self, open: bool) {
        self.open.send_replace(open);
    }
}

fn done() -> axum::Json<Value> {
    axum::Json(json!({"done": true}))
}
