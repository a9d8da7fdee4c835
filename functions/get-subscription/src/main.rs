//! The Lambda function behind `GET /subscriptions/{subscriptionId}`.

use lambda_http::Error;
use service::Service;
use service::http::event;
use service::telemetry::Telemetry;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let telemetry = Telemetry::start()?;
    let service = Service::from_env()?;
    // Before the first event, a function has more of a processor, and no caller that waits for it alone.
    service.store.connect().await;
    event::run(|request| telemetry.invocation(get_subscription::handle(&service, request))).await
}
