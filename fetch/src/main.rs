//! The `gatepost-fetch` binary: everything of gatepost that speaks TLS, HTTP/2 or with a registry. It is started by gatepost, one process
//! a task, gives up all it does not need, and only then connects. `docs/fetch.md` says what it does.

mod connection;
mod grpc;
mod probe;
mod tls;

use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("probe") {
        return probe::main();
    }
    // It has no other use, and no log: whoever types its name is told.
    let _ = std::io::stderr().write_all(b"gatepost-fetch is started by gatepost itself only\n");
    ExitCode::from(2)
}
