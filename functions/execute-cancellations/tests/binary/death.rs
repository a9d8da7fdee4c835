//! The binary is killed in the middle of a sweep. The cancellations it has executed stay executed. The others are left to the next
//! sweep, and none is executed twice.

use harness::lambda::{self, Function};
use harness::{Service, Wire, cancel_next_day, event};
use serde_json::json;

use crate::BINARY;

const DUE: u64 = 60;

#[tokio::test]
async fn the_next_sweep_executes_exactly_the_cancellations_that_a_killed_sweep_left() {
    // In the middle of a write: before the database has it, and after.
    for write_arrives in [false, true] {
        let documents: Vec<_> = (0..DUE)
            .map(|n| json!({"subscriptionId": format!("00000000-0000-4000-8000-{n:012x}"), "status": "ACTIVATED"}))
            .collect();
        let database = Service::start_seeded(&documents).await;
        for id in &database.subscription_ids {
            assert_eq!(database.cancel(id, &cancel_next_day()).await.status, 200);
        }
        let wire = Wire::start(&database.dynamodb_url).await;

        // The binary uses the system's clock, by which the date has come long ago. It is killed during its twentieth execution.
        wire.let_pass("UpdateItem", 19);
        let held =
            if write_arrives { wire.hold_answer("UpdateItem") } else { wire.hold_request("UpdateItem") };
        let function = Function::start(BINARY, &wire.url, &event("execute-cancellations/ok")).await;
        held.reached().await;
        function.kill().await;
        wire.unplug().await;
        if write_arrives {
            held.release();
        }
        wire.settled_but(usize::from(!write_arrives)).await;
        let before = cancelled(&database).await;
        assert!((1..DUE).contains(&before), "{before}");

        let rest = lambda::invoke(BINARY, &database.dynamodb_url, &event("execute-cancellations/ok"))
            .await
            .outcome
            .unwrap();
        assert_eq!(rest["executed"], DUE - before, "{rest}");
        held.release();
        wire.settled().await;
        assert_eq!(cancelled(&database).await, DUE);
        for id in &database.subscription_ids {
            assert_eq!(database.version(id).await, 3, "one write to schedule it, one to execute it");
            assert_eq!(database.get(id).await.json()["cancelledAt"], "2026-01-31T23:00:00Z");
        }
    }
}

async fn cancelled(database: &Service) -> u64 {
    let items = database.scan("subscriptions").await;
    let cancelled =
        items.iter().filter_map(|item| item.get("document")?.as_m().ok()?.get("status")?.as_s().ok());
    u64::try_from(cancelled.filter(|status| *status == "CANCELLED").count()).unwrap()
}
