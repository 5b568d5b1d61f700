//! The `gatepost-fetch` binary: everything of gatepost that speaks TLS, HTTP/2 or with a registry. It is started by gatepost, one process
//! a task, gives up all it does not need, and only then connects. `docs/probes.md` and `docs/images.md` say what it does.

mod answer;
mod auth;
mod connection;
mod grpc;
mod http;
mod place;
mod probe;
mod proxy;
mod pull;
mod resolve;
mod stream;
mod tls;
mod url;

use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("probe") => probe::main(),
        Some("pull") => pull::main(),
        _ => {
            // It has no other use, and no log: whoever types its name is told.
            let _ = std::io::stderr().write_all(b"gatepost-fetch is started by gatepost itself only\n");
            ExitCode::from(2)
        }
    }
}
