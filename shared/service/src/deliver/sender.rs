//! Posting an event to a webhook: signed, within a time limit, without following redirects, and only to an address that the webhook
//! may lead to. No proxy is used, because a proxy would make the connection that must be checked.
//!
//! The headers are those of Standard Webhooks <https://www.standardwebhooks.com>, and the attributes that CloudEvents requires, in
//! the binary mode of its HTTP binding.

use std::error::Error;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use domain::event::SOURCE;
use domain::webhook::{Addresses, KEPT_BYTES, Response, Secret, Webhook};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::GaiResolver;
use hyper_util::rt::TokioExecutor;
use lambda_http::http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use lambda_http::http::{HeaderMap, HeaderValue, Method, Request, Uri};
use percent_encoding::percent_decode_str;
use rustls::crypto::ring;
use tokio::time::{Instant, timeout, timeout_at};
use url::{Host, Url};
use uuid::Uuid;

use super::address::{PublicResolver, is_public};

/// Time to read the beginning of an answer whose status is known. Only the operator reads it.
const ANSWER: Duration = Duration::from_millis(500);

/// The name and version of this service, as receivers see it.
const AGENT: &str = concat!("Connect-Subscriptions/", env!("CARGO_PKG_VERSION"));

/// Posts events.
#[derive(Clone, Debug)]
pub struct Sender {
    public: Client<HttpsConnector<HttpConnector<PublicResolver>>, Full<Bytes>>,
    any: Client<HttpsConnector<HttpConnector<GaiResolver>>, Full<Bytes>>,
    timeout: Duration,
}

/// An event to post.
#[derive(Clone, Copy, Debug)]
pub struct Post<'p> {
    /// The id of the event.
    pub event_id: Uuid,
    /// The type of the event.
    pub r#type: &'p str,
    /// The event.
    pub event: &'p str,
    /// The time of this attempt.
    pub at: DateTime<Utc>,
}

/// The result of posting an event.
#[derive(Clone, Debug)]
pub struct Posted {
    /// The response.
    pub response: Response,
    /// The time until the status of the answer came, or until the attempt failed.
    pub after: Duration,
    /// The first 256 bytes of the answer, or the reason why there is none.
    pub answer: String,
}

impl Posted {
    /// Returns the status of the answer, if there was one.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self.response {
            Response::Status { status, .. } => Some(status),
            Response::Nothing => None,
        }
    }
}

/// The reason why nothing can be posted to a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// The text is not a URL of HTTP.
    #[error("write a URL, such as https://example.com/events")]
    NotHttp,
    /// The URL is not one of HTTPS, and the webhook may lead only to public addresses.
    #[error("the URL must begin with https://, unless any address is allowed")]
    NotHttps,
    /// The URL has an address that is not of the public internet, and the webhook may lead only to public addresses.
    #[error("the address is not public")]
    NotPublic,
}

/// Parses the URL of a webhook. A name in it is checked when it is resolved.
///
/// # Errors
/// Nothing can be posted to this URL, or nothing may.
pub fn target(url: &str, addresses: Addresses) -> Result<Url, Unusable> {
    let url = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    // Without this check, a URL that no request can be sent to would be tried for a day.
    let url = url.filter(|url| Uri::try_from(url.as_str()).is_ok()).ok_or(Unusable::NotHttp)?;
    if addresses == Addresses::Any {
        return Ok(url);
    }
    let address = match url.host() {
        Some(Host::Ipv4(address)) => Some(IpAddr::from(address)),
        Some(Host::Ipv6(address)) => Some(IpAddr::from(address)),
        Some(Host::Domain(_)) | None => None,
    };
    if url.scheme() != "https" {
        return Err(Unusable::NotHttps);
    }
    if address.is_some_and(|address| !is_public(address)) {
        return Err(Unusable::NotPublic);
    }
    Ok(url)
}

impl Sender {
    /// Builds a sender. An attempt may take this long.
    ///
    /// # Errors
    /// The certificates that this machine trusts can't be read.
    pub fn new(timeout: Duration) -> io::Result<Self> {
        let mut public = HttpConnector::new_with_resolver(PublicResolver::new());
        public.enforce_http(false);
        let mut any = HttpConnector::new();
        any.enforce_http(false);
        let builder =
            || HttpsConnectorBuilder::new().with_provider_and_native_roots(ring::default_provider());
        let public = builder()?.https_only().enable_http1().wrap_connector(public);
        let any = builder()?.https_or_http().enable_http1().wrap_connector(any);
        let client = || Client::builder(TokioExecutor::new());
        Ok(Self { public: client().build(public), any: client().build(any), timeout })
    }

    /// Posts an event to a webhook once.
    pub async fn post(&self, webhook: &Webhook, post: &Post<'_>) -> Posted {
        let begun = Instant::now();
        let failed = |answer: String| Posted { response: Response::Nothing, after: begun.elapsed(), answer };
        let request = match request(webhook, post) {
            Ok(request) => request,
            Err(cause) => return failed(cause.to_string()),
        };
        let answer = match webhook.addresses {
            Addresses::Public => timeout(self.timeout, self.public.request(request)).await,
            Addresses::Any => timeout(self.timeout, self.any.request(request)).await,
        };
        let after = begun.elapsed();
        match answer {
            Ok(Ok(answer)) => {
                let (head, body) = answer.into_parts();
                let retry_after = retry_after(&head.headers, post.at);
                let response = Response::Status { status: head.status.as_u16(), retry_after };
                Posted { response, after, answer: beginning(body).await }
            }
            Ok(Err(error)) => failed(cut(causes(&error).as_bytes())),
            Err(_) => failed(format!("no answer within {} s", self.timeout.as_secs_f32())),
        }
    }
}

/// The reason why an event can't be posted.
#[derive(Debug, thiserror::Error)]
enum NotPosted {
    #[error(transparent)]
    Unusable(#[from] Unusable),
    #[error(transparent)]
    Unsigned(#[from] standardwebhooks::WebhookError),
    #[error(transparent)]
    Http(#[from] lambda_http::http::Error),
}

/// Builds the request that posts an event. User and password in the URL become its `Authorization` header.
fn request(webhook: &Webhook, post: &Post<'_>) -> Result<Request<Full<Bytes>>, NotPosted> {
    let mut url = target(&webhook.url, webhook.addresses)?;
    url.set_fragment(None);
    let (id, timestamp) = (post.event_id.to_string(), post.at.timestamp());
    let sign = |secret: &Secret| {
        let signer = standardwebhooks::Webhook::from_bytes(secret.as_bytes().to_vec())?;
        signer.sign(&id, timestamp, post.event.as_bytes())
    };
    let signatures = webhook.secrets(post.at).map(sign).collect::<Result<Vec<_>, _>>()?;
    let mut request = Request::builder()
        .method(Method::POST)
        .header(CONTENT_TYPE, "application/json")
        .header(USER_AGENT, AGENT)
        .header(standardwebhooks::HEADER_WEBHOOK_ID, &id)
        .header(standardwebhooks::HEADER_WEBHOOK_TIMESTAMP, timestamp)
        .header(standardwebhooks::HEADER_WEBHOOK_SIGNATURE, signatures.join(" "))
        .header("ce-specversion", "1.0")
        .header("ce-id", &id)
        .header("ce-source", SOURCE)
        .header("ce-type", post.r#type);
    let user = url.username().to_owned();
    let password = url.password().map(str::to_owned);
    if !user.is_empty() || password.is_some() {
        let decoded = |text: &str| percent_decode_str(text).collect::<Vec<u8>>();
        let both = [decoded(&user), b":".to_vec(), decoded(&password.unwrap_or_default())].concat();
        let mut basic = HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(both)))
            .map_err(lambda_http::http::Error::from)?;
        basic.set_sensitive(true);
        request = request.header(AUTHORIZATION, basic);
        // A URL with a host can always lose its user and password.
        let _ = url.set_username("").and_then(|()| url.set_password(None));
    }
    Ok(request.uri(url.as_str()).body(Full::from(post.event.to_owned()))?)
}

/// Reads `Retry-After`: seconds, or a date of HTTP.
fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<TimeDelta> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let asked = match text.parse::<u32>() {
        Ok(seconds) => TimeDelta::seconds(seconds.into()),
        Err(_) => DateTime::<Utc>::from(httpdate::parse_http_date(text).ok()?) - now,
    };
    Some(asked).filter(|asked| *asked > TimeDelta::zero())
}

/// Reads the beginning of an answer. The rest is not read.
async fn beginning(mut body: Incoming) -> String {
    let (mut read, deadline) = (Vec::new(), Instant::now() + ANSWER);
    while read.len() < KEPT_BYTES {
        match timeout_at(deadline, body.frame()).await {
            Ok(Some(Ok(frame))) => read.extend(frame.into_data().unwrap_or_default()),
            Ok(Some(Err(_)) | None) | Err(_) => break,
        }
    }
    cut(&read)
}

/// Returns the first 256 bytes as text. A character that the limit cuts is left out.
fn cut(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes.get(..KEPT_BYTES).unwrap_or(bytes));
    text.strip_suffix(char::REPLACEMENT_CHARACTER).unwrap_or(&text).to_owned()
}

/// Joins the descriptions of an error and its causes.
fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use domain::webhook::FormerSecret;

    use super::*;

    const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

    fn now() -> DateTime<Utc> {
        "2022-04-07T21:25:53Z".parse().unwrap()
    }

    fn webhook(url: &str, addresses: Addresses) -> Webhook {
        Webhook {
            id: Uuid::nil().into(),
            url: url.to_owned(),
            events: Vec::new(),
            addresses,
            secret: SECRET.parse().unwrap(),
            former: None,
            disabled: None,
            created_at: now(),
        }
    }

    fn built(webhook: &Webhook) -> Request<Full<Bytes>> {
        let post = Post { event_id: Uuid::nil(), r#type: "webhook.ping", event: r#"{"a":1}"#, at: now() };
        request(webhook, &post).unwrap()
    }

    #[test]
    fn a_request_is_signed_with_each_valid_secret() {
        let other = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let until = now() + TimeDelta::seconds(1);
        let former = Some(FormerSecret { secret: other.parse().unwrap(), until });
        let webhook = Webhook { former, ..webhook("https://example.com", Addresses::Public) };
        let request = built(&webhook);
        let header = |name: &str| request.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("webhook-id"), Uuid::nil().to_string());
        assert_eq!(header("webhook-timestamp"), "1649366753");
        let signature = |secret: &str| {
            let signer = standardwebhooks::Webhook::new(secret).unwrap();
            signer.sign(&Uuid::nil().to_string(), 1_649_366_753, br#"{"a":1}"#).unwrap()
        };
        assert_eq!(header("webhook-signature"), format!("{} {}", signature(SECRET), signature(other)));
        let event = ["ce-specversion", "ce-id", "ce-source", "ce-type", "content-type"].map(header);
        let id = Uuid::nil().to_string();
        assert_eq!(event, ["1.0", id.as_str(), "connect.subscriptions", "webhook.ping", "application/json"]);
    }

    #[test]
    fn user_and_password_of_a_url_are_sent_only_as_authorization() {
        let request = built(&webhook("http://anna:s%40fe:x@127.0.0.1:4000/events?a=1#b", Addresses::Any));
        assert_eq!(request.uri(), "http://127.0.0.1:4000/events?a=1");
        let authorization = request.headers().get(AUTHORIZATION).unwrap();
        // anna:s@fe:x
        assert_eq!(authorization, "Basic YW5uYTpzQGZlOng=");
        assert!(authorization.is_sensitive());
        let request = built(&webhook("https://example.com", Addresses::Public));
        assert_eq!(
            (request.uri().to_string().as_str(), request.headers().get(AUTHORIZATION)),
            ("https://example.com/", None)
        );
    }

    #[test]
    fn an_unusable_url_is_refused() {
        let long = format!("http://127.0.0.1/{}", "a".repeat(70_000));
        for url in ["127.0.0.1:4000", "ftp://127.0.0.1/", "file:///events", &long] {
            assert_eq!(
                target(url, Addresses::Any),
                Err(Unusable::NotHttp),
                "{}",
                url.get(..30).unwrap_or(url)
            );
        }
        assert_eq!(target("http://example.com", Addresses::Public), Err(Unusable::NotHttps));
        for url in [
            "https://127.0.0.1",
            "https://127.1",
            "https://0x7f000001",
            "https://[::1]",
            "https://2130706433",
            "https://169.254.169.254",
        ] {
            assert_eq!(target(url, Addresses::Public), Err(Unusable::NotPublic), "{url}");
            assert!(target(url, Addresses::Any).is_ok(), "{url}");
        }
        assert!(target("https://example.com:8443/events?a=b", Addresses::Public).is_ok());
    }

    #[test]
    fn retry_after_is_read_as_seconds_or_as_a_date_in_the_future() {
        let read = |text: &str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
            retry_after(&headers, now()).map(|asked| asked.num_seconds())
        };
        assert_eq!(read("120"), Some(120));
        assert_eq!(read("Thu, 07 Apr 2022 21:26:53 GMT"), Some(60));
        for other in ["0", "-5", "soon", "1.5", "Thu, 07 Apr 2022 21:24:53 GMT", "99999999999999999999"] {
            assert_eq!(read(other), None, "{other}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now()), None);
    }
}
