#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};

use super::*;

struct Place {
    _directory: tempfile::TempDir,
    path: PathBuf,
    server: Server,
}

fn place() -> Place {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control.sock");
    let server = Server::bind(&path).unwrap();
    Place { _directory: directory, path, server }
}

/// Waits until the connection has something to read.
fn wait_readable(connection: &Connection) {
    poll(&mut [PollFd::new(&connection.as_fd(), PollFlags::IN)], None).unwrap();
}

fn read_all(mut stream: UnixStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_request_is_answered() {
    let mut place = place();
    let mut client = Client::connect(&place.path).unwrap();
    client.send(Call::Restart { namespace: "default".into(), name: "web-gw".into(), container: None }).unwrap();
    let mut connection = place.server.accept().unwrap().expect("a peer waits");
    assert!(place.server.accept().unwrap().is_none());
    wait_readable(&connection);
    let request = connection.read_request().expect("a request");
    assert_eq!(request.call, Call::Restart { namespace: "default".into(), name: "web-gw".into(), container: None });
    assert!(connection.read_request().is_none());
    assert!(!connection.is_finished());
    connection.queue(&Reply::Done { message: "restarted".into() });
    assert!(!connection.wants_write());
    let reply = client.next(Duration::from_secs(5)).unwrap();
    assert_eq!(reply, Some(Reply::Done { message: "restarted".into() }));
    drop(client);
    wait_readable(&connection);
    assert!(connection.read_request().is_none());
    assert!(connection.is_finished());
}

#[test]
fn the_socket_is_for_root_only_and_replaces_a_stale_one() {
    let place = place();
    let mode = std::fs::metadata(&place.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let second = Server::bind(&place.path).unwrap();
    assert!(UnixStream::connect(&place.path).is_ok());
    drop(second);
    assert!(matches!(Client::connect(&place.path), Err(ClientError::NotRunning(_))));
}

#[test]
fn a_socket_without_a_listener_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(matches!(Client::connect(&path), Err(ClientError::NoListener(_))));
}

#[test]
fn garbage_is_answered_with_an_error_and_closed() {
    let mut place = place();
    for garbage in ["not json\n", "{\"version\":1}\n", "{\"version\":1,\"call\":\"explode\"}\n", "\u{0}\u{1}\n", "[]\n"]
    {
        let mut stream = UnixStream::connect(&place.path).unwrap();
        stream.write_all(garbage.as_bytes()).unwrap();
        let mut connection = place.server.accept().unwrap().unwrap();
        wait_readable(&connection);
        assert!(connection.read_request().is_none());
        assert!(connection.is_finished(), "{garbage:?}");
        drop(connection);
        let text = read_all(stream);
        assert!(text.contains("\"reply\":\"error\"") && text.contains("not understood"), "{text}");
    }
}

#[test]
fn another_version_is_named() {
    let mut place = place();
    let mut stream = UnixStream::connect(&place.path).unwrap();
    stream.write_all(b"{\"version\":7,\"call\":\"fromTheFuture\"}\n").unwrap();
    let mut connection = place.server.accept().unwrap().unwrap();
    wait_readable(&connection);
    assert!(connection.read_request().is_none());
    drop(connection);
    assert!(read_all(stream).contains("protocol version 7"));
}

#[test]
fn an_oversized_request_is_refused_without_being_stored() {
    let mut place = place();
    let mut stream = UnixStream::connect(&place.path).unwrap();
    stream.set_nonblocking(true).unwrap();
    let mut connection = place.server.accept().unwrap().unwrap();
    for _ in 0..40 {
        drop(stream.write(&[b'x'; 4096]));
        assert!(connection.read_request().is_none());
    }
    assert!(connection.is_finished());
}

#[test]
fn two_requests_in_one_packet_are_two_requests() {
    let mut place = place();
    let mut stream = UnixStream::connect(&place.path).unwrap();
    stream.write_all(b"{\"version\":1,\"call\":\"pods\"}\n\n{\"version\":1,\"call\":\"info\"}\n{\"version\"").unwrap();
    let mut connection = place.server.accept().unwrap().unwrap();
    wait_readable(&connection);
    assert_eq!(connection.read_request().unwrap().call, Call::Pods);
    assert_eq!(connection.read_request().unwrap().call, Call::Info);
    assert!(connection.read_request().is_none());
    assert!(connection.wants_read());
}

#[test]
fn a_slow_watcher_is_dropped() {
    let mut place = place();
    let _stream = UnixStream::connect(&place.path).unwrap();
    let mut connection = place.server.accept().unwrap().unwrap();
    let snapshot = Reply::Pods { items: vec![serde_json::Value::String("x".repeat(600 << 10))], warnings: Vec::new() };
    let mut queued = 0;
    while !connection.is_finished() {
        connection.queue(&snapshot);
        queued += 1;
        assert!(queued < 10, "the backlog has a bound");
    }
    assert!(queued > 1);
    assert_eq!(connection.backlog(), 0, "its memory is given back at once");
}

#[test]
fn one_reply_of_any_size_gets_through() {
    let mut place = place();
    let mut client = Client::connect(&place.path).unwrap();
    client.send(Call::Watch).unwrap();
    let mut connection = place.server.accept().unwrap().unwrap();
    wait_readable(&connection);
    assert_eq!(connection.read_request().unwrap().call, Call::Watch);
    let snapshot =
        Reply::Pods { items: vec![serde_json::Value::String("x".repeat(5 << 20))], warnings: vec!["w".into()] };
    connection.queue(&snapshot);
    assert!(connection.wants_write());
    let reader = std::thread::spawn(move || client.next(Duration::from_secs(30)).unwrap());
    while connection.wants_write() {
        poll(&mut [PollFd::new(&connection.as_fd(), PollFlags::OUT)], None).unwrap();
        connection.flush();
    }
    assert_eq!(reader.join().unwrap(), Some(snapshot));
}

#[test]
fn one_connection_too_many_is_told_so() {
    let mut place = place();
    let mut peers = Vec::new();
    let mut connections = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        peers.push(UnixStream::connect(&place.path).unwrap());
        connections.push(place.server.accept().unwrap().unwrap());
    }
    let mut client = Client::connect(&place.path).unwrap();
    assert!(place.server.accept().unwrap().is_none());
    assert_eq!(place.server.connections(), MAX_CONNECTIONS);
    assert!(matches!(client.ask(Call::Info), Err(ClientError::Refused { .. })));
    connections.pop();
    peers.push(UnixStream::connect(&place.path).unwrap());
    assert!(place.server.accept().unwrap().is_some());
}

#[test]
fn errors_come_back_with_their_remedy() {
    let error = ClientError::Refused { message: "no such pod".into(), remedy: "see `gatepost get pods -A`".into() };
    assert_eq!(error.to_string(), "no such pod: see `gatepost get pods -A`");
    assert_eq!(ClientError::Refused { message: "no".into(), remedy: String::new() }.to_string(), "no");
}

#[test]
fn every_reply_survives_the_wire() {
    let mut place = place();
    let replies = [
        Reply::Pods { items: vec![serde_json::json!({"kind": "Pod", "version": 3})], warnings: vec!["w".into()] },
        Reply::Events { items: Vec::new() },
        Reply::Done { message: "version".into() },
        Reply::Info(Box::new(Info { version: "0.1.0".into(), pid: 7, ..Info::default() })),
    ];
    let mut client = Client::connect(&place.path).unwrap();
    let mut connection = place.server.accept().unwrap().unwrap();
    for reply in replies {
        connection.queue(&reply);
        assert_eq!(client.next(Duration::from_secs(5)).unwrap(), Some(reply));
    }
}
