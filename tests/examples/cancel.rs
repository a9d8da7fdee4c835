//! Cancels a subscription for the next day with reqwest, safely: a failed request is retried with the same idempotency key, so
//! that it takes effect once. Prints the date on which the subscription will be cancelled.
//!
//! `CONNECT_URL=… CONNECT_API_KEY=… cargo run -p tests --example cancel -- SUBSCRIPTION [KEY]`
//!
//! For `https`, reqwest needs its feature `rustls`, which this workspace leaves out.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program")]

use std::env;
use std::error::Error;
use std::time::Duration;

use reqwest::{Client, Response, Url};
use serde_json::{Value, json};
use tokio::time::sleep;
use uuid::Uuid;

const ATTEMPTS: u32 = 6;

/// Cancels, and returns the date of the cancellation. `key` names this one cancellation. Keep it with the order, so that
/// another run of this program can use it again.
async fn cancel(subscription: &str, key: &str) -> Result<String, Box<dyn Error>> {
    let mut url = Url::parse(&env::var("CONNECT_URL")?)?;
    url.path_segments_mut().map_err(|()| "CONNECT_URL has no path")?.pop_if_empty().extend([
        "subscriptions",
        subscription,
        "cancel",
    ]);
    let request = Client::new()
        .post(url)
        .header("X-Api-Key", env::var("CONNECT_API_KEY")?)
        .header("X-Idempotency-Key", key)
        .json(&json!({"schedule": {"type": "CancelNextDay"}, "reason": "NO_NEED"}))
        .timeout(Duration::from_secs(10));
    for attempt in 0..ATTEMPTS {
        let mut wait = Duration::from_secs(1 << attempt).mul_f64(fastrand::f64() / 2.0 + 0.5);
        // The body is not a stream, so the request can be sent again.
        let sent = request.try_clone().ok_or("the request can't be repeated")?.send().await;
        match read(sent).await {
            Ok((200, _, body)) => {
                let date = body.pointer("/pendingStatus/scheduledAt").and_then(Value::as_str);
                return Ok(date.ok_or("an answer without a date")?.to_owned());
            }
            Ok((status, retry_after, body)) => {
                let code = body.get("code").and_then(Value::as_str).unwrap_or_default();
                if status != 429 && status < 500 && code != "idempotency_key_locked" {
                    return Err(format!("refused: {status} {code}").into());
                }
                wait = wait.max(retry_after);
                eprintln!("{status} {code}");
            }
            // The request was never sent.
            Err(error) if error.is_builder() => return Err(error.into()),
            // The request may have been carried out: the answer was lost, or is incomplete.
            Err(error) => eprintln!("no answer ({error})"),
        }
        if attempt + 1 < ATTEMPTS {
            sleep(wait).await;
        }
    }
    Err("the outcome is unknown; retry with the same key within 24 hours".into())
}

/// Reads status, `Retry-After` and body of an answer. The body is null if it is not JSON, because it comes from a proxy on the
/// way.
async fn read(sent: reqwest::Result<Response>) -> reqwest::Result<(u16, Duration, Value)> {
    let answer = sent?;
    let status = answer.status().as_u16();
    let header = answer.headers().get("Retry-After").and_then(|value| value.to_str().ok());
    let retry_after = header.and_then(|text| text.parse().ok()).unwrap_or(0);
    let body = serde_json::from_slice(&answer.bytes().await?).unwrap_or_default();
    Ok((status, Duration::from_secs(retry_after), body))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let subscription = arguments.next().ok_or("the subscription is missing")?;
    let key = arguments.next().unwrap_or_else(|| Uuid::new_v4().to_string());
    eprintln!("idempotency key {key}");
    println!("{}", cancel(&subscription, &key).await?);
    Ok(())
}
