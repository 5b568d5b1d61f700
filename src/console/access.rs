//! Who gets a shell: what the configuration says, and whether a password is the right one.

use std::path::Path;

use sha_crypt::{PasswordHashRef, PasswordVerifier as _, ShaCrypt};

use crate::config;
use crate::json::{self, Deserialize};

/// What matters here of the file that every supervisor gets its settings from.
#[derive(Deserialize)]
struct Setup {
    body: Body,
}

#[derive(Deserialize)]
struct Body {
    config: Settings,
}

#[derive(Deserialize)]
struct Settings {
    #[serde(default)]
    console: config::Console,
}

/// The setting at `path`; nobody gets a shell when it cannot be read.
pub(super) fn settings(path: &Path) -> config::Console {
    let setup = std::fs::read(path).ok().and_then(|bytes| json::from_slice::<Setup>(&bytes).ok());
    setup.map(|setup| setup.body.config.console).unwrap_or_default()
}

/// Whether `typed` is the password of this hash (crypt(3), `$5$` and `$6$`).
pub(super) fn is_password(hash: &str, typed: &[u8]) -> bool {
    PasswordHashRef::new(hash).is_ok_and(|hash| ShaCrypt::default().verify_password(typed, hash).is_ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::ConsoleShell;

    /// Made with `openssl passwd -6 -salt saltsalt secret`, and with `-5`.
    const HASHES: [&str; 2] = [
        "$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN.Pq.H91p5hVO1",
        "$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA",
    ];

    #[test]
    fn a_password_is_checked_as_crypt_does() {
        for hash in HASHES {
            assert!(is_password(hash, b"secret"), "{hash}");
            for wrong in [&b""[..], b"Secret", b"secret ", b"secre", b"\xff\x00"] {
                assert!(!is_password(hash, wrong), "{hash}");
            }
        }
        assert!(is_password(
            "$6$rounds=1000$saltsalt$LAV5VE5Y7w1d73x1mFNspYWUpazfmwv2SoepNXNKJ/otop/Zok96Hr8Q13LEv0DRY/x8v0/crpIjl8NJSAqXV/",
            b"secret"
        ));
    }

    #[test]
    fn a_broken_hash_fits_no_password() {
        for hash in [
            "",
            "secret",
            "$6$",
            "$6$salt",
            "$6$salt$",
            "$6$salt$short",
            "$1$salt$qJH7.N4xYta3aEG/dfqo/0",
            "$6$\u{e9}$x",
        ] {
            assert!(!is_password(hash, b"secret") && !is_password(hash, b""), "{hash}");
        }
    }

    #[test]
    fn without_a_readable_setting_nobody_gets_a_shell() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("setup.json");
        assert_eq!(settings(&path).shell, ConsoleShell::None);
        std::fs::write(&path, "{").unwrap();
        assert_eq!(settings(&path).shell, ConsoleShell::None);
        std::fs::write(
            &path,
            r#"{"version":1,"body":{"config":{"console":{"shell":"open","timeout":{"secs":5,"nanos":0}}}}}"#,
        )
        .unwrap();
        assert_eq!(settings(&path).shell, ConsoleShell::Open);
    }
}
