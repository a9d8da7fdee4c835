//! The Lambda function behind `POST /subscriptions/{subscriptionId}/cancel`.

use lambda_http::{Error, run, service_fn};
use subscriptions::service::Service;
use subscriptions::telemetry;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let service = Service::from_env()?;
    run(service_fn(|request| async { Ok::<_, Error>(cancel_subscription::handle(&service, request).await) }))
        .await
}
