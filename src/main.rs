//! The `gatepost` binary: picks the role named by the first argument.

use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args_os().nth(1).as_deref().and_then(std::ffi::OsStr::to_str) {
        Some("sandbox") => gatepost::runtime::sandbox::main(),
        Some("launch") => gatepost::runtime::launch::main(),
        Some("cleanup") => gatepost::runtime::cleanup::main(),
        _ => gatepost::cli::main(),
    }
}
