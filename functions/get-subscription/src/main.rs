//! The Lambda function behind `GET /subscriptions/{subscriptionId}`.

use lambda_http::Error;
use subscriptions::http::event;
use subscriptions::service::Service;
use subscriptions::telemetry;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let service = Service::from_env()?;
    event::run(|request| get_subscription::handle(&service, request)).await
}
