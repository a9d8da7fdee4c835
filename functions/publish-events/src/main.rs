//! The Lambda function that receives the stream of the subscriptions table.

use lambda_runtime::{Error, run, service_fn};
use service::publish::Publisher;
use service::telemetry::Telemetry;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let telemetry = Telemetry::start()?;
    let publisher = Publisher::from_env()?;
    run(service_fn(|event| telemetry.invocation(publish_events::handle(&publisher, event)))).await
}
