//! The Lambda function behind `POST /subscriptions/{subscriptionId}/cancel`.

use lambda_http::Error;
use subscriptions::http::event;
use subscriptions::service::Service;
use subscriptions::telemetry;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let service = Service::from_env()?;
    event::run(|request| cancel_subscription::handle(&service, request)).await
}
