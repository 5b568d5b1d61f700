//! Every command a person types.
#![allow(dead_code)]

mod age;
mod columns;
mod selector;
mod tabs;
mod view;
mod yaml;

/// Entry of the binary.
pub fn main() -> std::process::ExitCode {
    match std::env::args_os().nth(1).as_deref().and_then(std::ffi::OsStr::to_str) {
        Some("log-writer") => crate::log::writer::main(),
        _ => std::process::ExitCode::FAILURE,
    }
}
