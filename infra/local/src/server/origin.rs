//! Finds the origin of a request, from the headers that a browser sends. So this machine's own pages are told apart from pages of
//! other origins, and from foreign names that resolve to this machine (DNS rebinding).

use axum::http::HeaderMap;
use axum::http::header::{HOST, ORIGIN};
use url::{Host, Url};

/// The origin of a request.
pub(super) enum Origin {
    Here,
    Elsewhere,
    /// The host is malformed, or there are two (RFC 9112, section 3.2).
    Invalid,
}

/// Returns the origin of a request with these headers.
pub(super) fn origin(headers: &HeaderMap) -> Origin {
    let times = |name| headers.get_all(name).iter().count();
    // No browser sends a header twice, and servers differ on which of two they read.
    if times(HOST) > 1 {
        return Origin::Invalid;
    }
    if times(ORIGIN) > 1 {
        return Origin::Elsewhere;
    }
    let header = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    // HTTP/1.0 needs no host, and no browser uses HTTP/1.0.
    let host = header(HOST).unwrap_or("localhost");
    let here = format!("http://{host}");
    let Some(url) = Url::parse(&here).ok().filter(|_| !host.contains(['/', '?', '#', '@'])) else {
        return Origin::Invalid;
    };
    let is_loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    if is_loopback && header(ORIGIN).is_none_or(|origin| origin == here) {
        Origin::Here
    } else {
        Origin::Elsewhere
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn only_a_request_to_a_local_host_from_its_own_origin_counts_as_local() {
        let is_from_here = |host: &'static str, origin: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().unwrap());
            headers.extend(origin.map(|origin| (ORIGIN, origin.parse().unwrap())));
            matches!(super::origin(&headers), Origin::Here)
        };
        assert!(is_from_here("127.0.0.1:3000", None));
        assert!(is_from_here("localhost:3000", Some("http://localhost:3000")));
        assert!(is_from_here("[::1]:3000", None));
        assert!(!is_from_here("127.0.0.1:3000", Some("https://example.com")));
        assert!(!is_from_here("127.0.0.1:3000", Some("http://127.0.0.1:4000")));
        assert!(!is_from_here("127.0.0.1:3000", Some("null")));
        assert!(!is_from_here("127.0.0.1.example.com:3000", None));
        assert!(!is_from_here("example.com", None));
        assert!(!is_from_here("", None));
    }

    #[test]
    fn a_request_with_two_hosts_or_two_origins_is_not_local() {
        let here = ("127.0.0.1:3000", "http://127.0.0.1:3000");
        let origin_of = |hosts: &[&'static str], origins: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(HOST, HeaderValue::from_static(host));
            }
            for origin in origins {
                headers.append(ORIGIN, HeaderValue::from_static(origin));
            }
            origin(&headers)
        };
        assert!(matches!(origin_of(&[here.0], &[here.1]), Origin::Here));
        assert!(matches!(origin_of(&[here.0, "example.com"], &[]), Origin::Invalid));
        assert!(matches!(origin_of(&[here.0], &[here.1, "http://example.com"]), Origin::Elsewhere));
    }
}
