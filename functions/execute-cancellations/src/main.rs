//! The Lambda function that EventBridge Scheduler invokes every minute.

use lambda_runtime::{Error, run, service_fn};
use subscriptions::service::Service;
use subscriptions::telemetry;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let service = Service::from_env()?;
    run(service_fn(|event| execute_cancellations::handle(&service, event))).await
}
