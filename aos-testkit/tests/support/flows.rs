//! Rust workflows of the fixtures.

#![allow(clippy::expect_used, clippy::panic, reason = "test support: what is wrong with a fixture shows at once")]

#[path = "flows/agent.rs"]
mod agent;
#[path = "flows/small.rs"]
mod small;

use std::sync::Arc;
use std::time::Duration;

use aos_core::flow::{Ctx, Flows};
use aos_core::skill::SkillContract;
use aos_core::workflow::{Plan, PlanBuilder};
use aos_core::{Failure, codes};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// An order as a shop sends it.
#[derive(Deserialize)]
pub struct Order {
    id: String,
    items: Vec<Item>,
    #[serde(default)]
    refuse_payment: bool,
}

#[derive(Deserialize, Serialize)]
struct Item {
    sku: String,
    quantity: u32,
    unit_price_cents: u64,
}

/// What became of an order.
#[derive(Serialize)]
pub struct Fulfilled {
    status: &'static str,
    receipt: Option<String>,
    parcels: usize,
    undone: Vec<String>,
}

/// An order saga: reserve every item, charge the customer once, ship; whatever fails undoes what was done before it,
/// last first.
pub async fn order_saga(ctx: Ctx, order: Order) -> Result<Fulfilled, Failure> {
    let reserved = ctx
        .map(order.items.iter(), |ctx, item| async move {
            let key = format!("reservation/{}", item.sku);
            ctx.call("store@^1", &json!({"key": key, "value": item})).name("reserve").await.map(|_| key)
        })
        .await;
    let mut done: Vec<String> = reserved.into_iter().collect::<Result<_, _>>()?;
    let total: u64 = order.items.iter().map(|item| u64::from(item.quantity) * item.unit_price_cents).sum();
    let charge = json!({"order": order.id, "charge_cents": total, "refuse": order.refuse_payment});
    let receipt = match ctx.call("ledger@^1", &charge).name("charge").await {
        Ok(receipt) => receipt.value()["receipt"].as_str().map(str::to_owned),
        Err(failure) if failure.code == codes::OUTCOME_UNKNOWN => {
            // Nobody knows whether the customer paid: hands off, a person decides.
            return Ok(Fulfilled { status: "needs_review", receipt: None, parcels: 0, undone: Vec::new() });
        }
        Err(_) => {
            let undone = compensate(&ctx, std::mem::take(&mut done)).await?;
            return Ok(Fulfilled { status: "cancelled", receipt: None, parcels: 0, undone });
        }
    };
    ctx.sleep(Duration::from_secs(1_800)).await?;
    let parcels = done.len().div_ceil(2);
    for parcel in 0..parcels {
        let label = json!({"fail_attempts": parcel, "code": "ERR_CARRIER_BUSY", "value": {"parcel": parcel, "order": order.id}});
        ctx.call("flaky@^1", &label).name(&format!("label:{parcel}")).await?;
    }
    Ok(Fulfilled { status: "shipped", receipt, parcels, undone: Vec::new() })
}

async fn compensate(ctx: &Ctx, done: Vec<String>) -> Result<Vec<String>, Failure> {
    let mut undone = Vec::new();
    for (step, key) in done.into_iter().rev().enumerate() {
        let released = json!({"key": key, "value": Value::Null});
        ctx.call("store@^1", &released).name(&format!("release:{step}")).await?;
        undone.push(key);
    }
    Ok(undone)
}

/// Every Rust workflow of the fixtures.
pub fn flows() -> Flows {
    let mut flows = Flows::new();
    let registered = [
        flows.register("order_saga", "1.0.0", order_saga),
        flows.register("support_agent", "1.0.0", agent::support_agent),
        flows.register("research_agent", "1.0.0", agent::research_agent),
        flows.register("refund", "1.0.0", small::refund),
        flows.register("fan_out", "1.0.0", small::fan_out),
        flows.register("poll", "1.0.0", small::poll),
        flows.register("quotes", "1.0.0", small::quotes),
        flows.register("nightly", "1.0.0", small::nightly),
        flows.register("lottery", "1.0.0", small::lottery),
        flows.register("page_watch", "1.0.0", small::page_watch),
    ];
    registered.into_iter().collect::<Result<(), _>>().expect("valid ids");
    flows
}

#[allow(dead_code, reason = "not every test target that has this file builds plans by hand")]
/// The plan of the Rust workflow `id`, allowed to call every skill of `contracts`.
pub fn plan(id: &str, contracts: &[&SkillContract]) -> Arc<Plan> {
    let builder = PlanBuilder::code(id, "1.0.0").expect("a valid id");
    let with_skill =
        |builder: PlanBuilder, contract: &&SkillContract| builder.skill(contract).expect("a valid contract");
    contracts.iter().fold(builder, with_skill).build()
}
