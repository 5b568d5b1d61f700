#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use super::*;

fn to() -> SocketAddr {
    "127.0.0.1:8080".parse().unwrap()
}

fn request(path: &str, headers: &[(&str, &str)]) -> String {
    let request = Request::new(to(), path, headers.iter().copied(), "kube-probe/1.36");
    String::from_utf8(request.text().unwrap()).unwrap()
}

/// The whole text at once, byte by byte, and its end: all say the same.
fn read(text: &str) -> Result<Response, String> {
    let whole = |reader: &mut Reader| reader.push(text.as_bytes()).and_then(|r| r.map_or_else(|| reader.end(), Ok));
    let at_once = whole(&mut Reader::default());
    let mut reader = Reader::default();
    let mut by_bytes = None;
    for byte in text.as_bytes() {
        match reader.push(&[*byte]) {
            Ok(None) => {}
            Ok(Some(response)) => by_bytes = Some(Ok(response)),
            Err(error) => by_bytes = Some(Err(error)),
        }
        if by_bytes.is_some() {
            break;
        }
    }
    assert_eq!(by_bytes.unwrap_or_else(|| reader.end()), at_once, "{text:?}");
    at_once
}

#[test]
fn a_request_is_what_a_kubelet_sends() {
    assert_eq!(
        request("/healthz?full=1", &[]),
        "GET /healthz?full=1 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: kube-probe/1.36\r\nAccept: */*\r\n\
         Connection: close\r\n\r\n"
    );
}

#[test]
fn given_headers_replace_the_usual_ones_and_empty_ones_remove_them() {
    let text = request(
        "x",
        &[("host", "example.org"), ("USER-AGENT", ""), ("accept", "text/plain"), ("X-A", "1"), ("X-A", "")],
    );
    assert_eq!(
        text,
        "GET /x HTTP/1.1\r\nHost: example.org\r\naccept: text/plain\r\nX-A: 1\r\nX-A: \r\nConnection: close\r\n\r\n"
    );
}

#[test]
fn nothing_of_a_manifest_can_smuggle_a_line_into_the_request() {
    assert!(request("/a b\r\nX: y#z", &[]).starts_with("GET /a%20b%0D%0AX:%20y HTTP/1.1\r\n"));
    let bad = Request::new(to(), "/", [("X", "a\r\nY: b")].into_iter(), "a");
    assert!(bad.text().unwrap_err().contains("invalid header field"));
    assert!(Request::new(to(), "/", [("X:", "a")].into_iter(), "a").text().is_err());
}

#[test]
fn a_body_ends_with_its_length_its_chunks_or_the_connection() {
    for text in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.0 200 OK\r\n\r\nhello",
        "HTTP/1.1 200\n\nhello",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: CHUNKED\r\n\r\n2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
    ] {
        let response = read(text).unwrap();
        assert_eq!((response.status, response.body.as_slice()), (200, b"hello".as_slice()), "{text}");
    }
    assert_eq!(read("HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\n").unwrap().body, b"");
}

#[test]
fn an_answer_that_is_cut_short_is_none() {
    for text in [
        "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n",
    ] {
        assert_eq!(read(text).unwrap_err(), "unexpected EOF", "{text}");
    }
    assert_eq!(read("HTTP/1.1 200 OK\r\n").unwrap_err(), "EOF");
    assert_eq!(read("").unwrap_err(), "EOF");
}

#[test]
fn an_endless_answer_ends_at_ten_kibibytes() {
    let body = "x".repeat(50_000);
    let response = read(&format!("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n{body}")).unwrap();
    assert_eq!(response.body.len(), BODY);
    assert_eq!(
        read(&format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffff\r\n{body}")).unwrap().body.len(),
        BODY
    );
    let head = format!("HTTP/1.1 200 OK\r\n{}", "X: y\r\n".repeat(10_000));
    assert!(read(&head).unwrap_err().contains("exceeded"));
}

#[test]
fn what_is_no_http_is_told_as_such() {
    for text in
        ["SSH-2.0-OpenSSH_9.2\r\n", "HTTP/2.0 200 OK\r\n\r\n", "HTTP/1.1 abc\r\n\r\n", "\u{0}\u{1}\u{2}\u{3}\u{4}\u{5}"]
    {
        assert!(read(text).unwrap_err().starts_with("malformed HTTP response"), "{text}");
    }
    assert!(read("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n").unwrap_err().contains("Content-Length"));
    assert!(read("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n").unwrap_err().contains("chunked"));
}

#[test]
fn a_redirect_is_followed_on_the_same_host_only() {
    let request = Request::new(to(), "/a/b?c", std::iter::empty(), "a");
    let follows = |location: &str| request.redirected(to(), location).map(|(to, next)| (to.port(), next.url()));
    for (location, port, url) in [
        ("/x?y", 8080, "http://127.0.0.1:8080/x?y"),
        ("x", 8080, "http://127.0.0.1:8080/a/x"),
        ("?z", 8080, "http://127.0.0.1:8080/a/b?z"),
        ("http://127.0.0.1:81/x", 81, "http://127.0.0.1:81/x"),
        ("HTTP://127.0.0.1", 80, "http://127.0.0.1/"),
        ("//127.0.0.1:82", 82, "http://127.0.0.1:82/"),
        ("https://127.0.0.1/x", 443, "https://127.0.0.1/x"),
    ] {
        assert_eq!(follows(location), Some((port, url.to_owned())), "{location}");
    }
    for location in ["http://example.org/", "http://192.0.2.1/", "mailto:a@b", "http://[::1]/"] {
        assert_eq!(follows(location), None, "{location}");
    }
}

#[test]
fn what_goes_in_clear_text_after_all_leaves_credentials_out() {
    let headers = [("Authorization", "Basic x"), ("X-Kept", "authorization: y")];
    let request = Request::new(to(), "/", headers.into_iter(), "a").by_tls().in_clear();
    let text = String::from_utf8(request.text().unwrap()).unwrap();
    assert!(!text.contains("Basic") && text.contains("X-Kept: authorization: y\r\n"), "{text}");
    assert!(request.url().starts_with("http://"));
}
