//! The Lambda function behind `GET /subscriptions/{subscriptionId}`.

use lambda_http::{Error, run, service_fn};
use subscriptions::service::Service;
use subscriptions::telemetry;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let service = Service::from_env()?;
    run(service_fn(|request| async { Ok::<_, Error>(get_subscription::handle(&service, request).await) }))
        .await
}
