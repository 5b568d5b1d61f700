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
    std::process::ExitCode::SUCCESS
}
