//! Every command a person types.

/// Entry of the binary.
pub fn main() -> std::process::ExitCode {
    if std::env::args().nth(1).as_deref() == Some("image-worker") {
        return crate::image::worker::main();
    }
    std::process::ExitCode::SUCCESS
}
