//! The Lambda function that EventBridge Scheduler invokes every minute.

use lambda_runtime::{Error, run, service_fn};
use service::Service;
use service::telemetry::Telemetry;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let telemetry = Telemetry::start()?;
    let service = Service::from_env()?;
    run(service_fn(|event| telemetry.invocation(execute_cancellations::handle(&service, event)))).await
}
