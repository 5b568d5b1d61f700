//! The `gatepost` binary: picks the role named by the first argument.

use std::process::ExitCode;

fn main() -> ExitCode {
    gatepost::cli::main()
}
