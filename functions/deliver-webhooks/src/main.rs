//! The Lambda function that receives events and deliveries from the queue, and posts events to webhooks.

use lambda_runtime::{Error, run, service_fn};
use service::deliver::Deliverer;
use service::telemetry::Telemetry;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let telemetry = Telemetry::start()?;
    let deliverer = Deliverer::from_env()?;
    run(service_fn(|event| telemetry.invocation(deliver_webhooks::handle(&deliverer, event)))).await
}
