//! The pages and the local paths of `connect up`. `.ci/steps pages` tests them in a browser.

use harness::{ACTIVATED, Service, cancel_next_day};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use service::http::problem::Code;
use strum::VariantArray;

async fn get(service: &Service, path: &str) -> (StatusCode, String) {
    let answer = Client::new().get(format!("{}{path}", service.api_url)).send().await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

async fn status(service: &Service) -> Value {
    let (status, text) = get(service, "/_local/status").await;
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn the_pages_are_served_with_a_policy_that_allows_only_their_own_origin() {
    let service = Service::start().await;
    let scripts = ["home", "docs", "console", "console-views", "console-words", "lit-html"];
    let scripts = scripts.map(|name| format!("/pages/{name}.js"));
    let pages = ["/", "/console", "/docs", "/openapi.yaml", "/pages/style.css"].map(str::to_owned);
    for path in pages.iter().chain(&scripts) {
        let answer = Client::new().get(format!("{}{path}", service.api_url)).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        assert!(
            answer.headers()["content-security-policy"].to_str().unwrap().starts_with("default-src 'self'")
        );
    }
    let (status, renderer) = get(&service, "/pages/scalar.js").await;
    assert_eq!(status, 200);
    assert!(renderer.contains("createApiReference"));
}

/// Every program of this machine can use the embedded database. Another one may belong to others.
#[tokio::test]
async fn the_service_has_a_console_only_with_the_embedded_database() {
    if std::env::var("DYNAMODB_ENDPOINT").is_ok() {
        return;
    }
    let (database, service, _wire) = Service::start_wired().await;
    assert_eq!(get(&database, "/_console/about").await.0, 200);
    assert_eq!(get(&service, "/_console/about").await.0, 404);
}

#[tokio::test]
async fn the_type_of_every_problem_leads_to_its_page() {
    let service = Service::start().await;
    for code in Code::VARIANTS {
        let (status, page) = get(&service, &format!("/problems/{}", code.as_str())).await;
        assert_eq!(status, 200, "{}", code.as_str());
        assert!(page.contains(code.as_str()) && page.contains("<strong>What to do.</strong>"), "{page}");
    }
    let problem = service.get_as("garbage", ACTIVATED).await.json();
    assert_eq!(get(&service, problem["type"].as_str().unwrap()).await.0, 200);
    assert_eq!(get(&service, "/problems/nonsense").await.0, 404);
}

#[tokio::test]
async fn the_status_names_addresses_dates_subscriptions_and_executions() {
    let service = Service::start().await;
    let before = status(&service).await;
    assert_eq!(before["apiUrl"], json!(service.api_url));
    assert!(!before.to_string().contains(&service.api_key), "people show each other a status");
    let (status_of_key, key) = get(&service, "/_local/api-key").await;
    assert_eq!((status_of_key.as_u16(), key), (200, json!({"apiKey": service.api_key}).to_string()));
    assert_eq!(before["timeZone"], "Europe/Stockholm");
    assert_eq!(before["nextDay"], json!({"date": "2026-02-01", "instant": "2026-01-31T23:00:00Z"}));
    assert_eq!(before["nextMonth"], before["nextDay"]);
    assert_eq!(before["executions"], json!([]));
    assert_eq!(before["subscriptions"][0], service.get(ACTIVATED).await.json());
    assert_eq!((before["subscriptions"].as_array().unwrap().len(), &before["more"]), (8, &json!(0)));

    service.cancel(ACTIVATED, &cancel_next_day()).await;
    service.execute().await;
    service.execute().await;
    service.set_clock(before["nextDay"]["instant"].as_str().unwrap()).await;
    service.execute().await;
    let after = status(&service).await;
    let executed = |nth: usize| after["executions"][nth]["summary"]["executed"].clone();
    assert_eq!((executed(0), executed(1), executed(2)), (json!(1), json!(0), Value::Null), "{after}");
    assert_eq!(after["subscriptions"][0]["status"], "CANCELLED");
    assert_eq!(after["nextMonth"]["date"], "2026-03-01");
}

#[tokio::test]
async fn cross_origin_requests_get_403_on_both_ports() {
    let service = Service::start().await;
    let now = status(&service).await["now"].clone();
    let body = json!({"advance": "P400D"}).to_string();
    for headers in [("Origin", "https://example.com"), ("Host", "example.com")] {
        let client = Client::new();
        for (method, url) in [
            (Method::GET, format!("{}/_local/status", service.api_url)),
            (Method::GET, format!("{}/_local/api-key", service.api_url)),
            (Method::POST, format!("{}/_local/clock", service.api_url)),
            (Method::GET, format!("{}/subscriptions/{ACTIVATED}", service.api_url)),
            (Method::POST, service.dynamodb_url.clone()),
            (Method::OPTIONS, service.dynamodb_url.clone()),
        ] {
            let request = client.request(method, &url).body(body.clone());
            let answer = request.header(headers.0, headers.1).send().await.unwrap();
            assert_eq!(answer.status(), 403, "{url}");
            assert!(!answer.headers().contains_key("access-control-allow-origin"), "{url}");
            assert!(!answer.text().await.unwrap().contains(&service.api_key));
        }
    }
    assert_eq!(status(&service).await["now"].as_str().unwrap()[..10], now.as_str().unwrap()[..10]);
}
