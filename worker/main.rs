//! The `gatepost-worker` binary: the roles that read what others wrote. They are in a file of their own since the other binary lies
//! in memory, locked there, for as long as the machine runs.

use std::process::ExitCode;

fn main() -> ExitCode {
    gatepost::cli::worker()
}
