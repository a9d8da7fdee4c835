//! The Lambda function behind `POST` and `DELETE /subscriptions/{subscriptionId}/cancel`.

use lambda_http::Error;
use service::Service;
use service::http::event;
use service::telemetry::Telemetry;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let telemetry = Telemetry::start()?;
    let service = Service::from_env()?;
    // Connect before the first event: a starting function has more CPU, and no caller waits for this step alone.
    service.store.connect().await;
    event::run(|request| telemetry.invocation(cancel_subscription::handle(&service, request))).await
}
