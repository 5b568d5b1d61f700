//! Keys and signatures made by the tools that people have.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::process::Command;

use super::*;

/// Runs a line of shell in a directory of its own, which is kept.
fn made(script: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("file"), "what is signed\n").unwrap();
    let output = Command::new("sh").args(["-ec", script]).current_dir(directory.path()).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    directory
}

const OPENSSL: &str = "openssl genpkey -algorithm ed25519 -out key; openssl pkey -in key -pubout -out pub
    openssl pkeyutl -sign -rawin -inkey key -in file -out sig";

fn check(directory: &tempfile::TempDir) -> Result<(), String> {
    let file = |name| fs::read(directory.path().join(name)).unwrap();
    Keys::read(&[directory.path().join("pub")])?.verify(&file("file"), &file("sig"))
}

#[test]
fn signatures_of_openssl_signify_and_minisign_are_checked() {
    for script in [
        OPENSSL,
        &format!("{OPENSSL}; base64 sig >other; mv other sig"),
        "signify-openbsd -G -n -p k.pub -s k.sec; signify-openbsd -S -s k.sec -m file -x sig; mv k.pub pub",
        "minisign -G -W -p pub -s key >/dev/null; minisign -S -l -s key -m file -x sig >/dev/null",
    ] {
        let directory = made(script);
        assert_eq!(check(&directory), Ok(()), "{script}");
        fs::write(directory.path().join("file"), "what is Signed\n").unwrap();
        let why = check(&directory).unwrap_err();
        assert!(why.contains("none by a key that this node trusts"), "{why}");
    }
}

#[test]
fn any_of_several_keys_suffices_and_one_that_cannot_be_read_spoils_all() {
    let (ours, other) = (made(OPENSSL), made(OPENSSL));
    let [file, sig] = ["file", "sig"].map(|name| fs::read(ours.path().join(name)).unwrap());
    let both = [other.path().join("pub"), ours.path().join("pub")];
    assert_eq!(Keys::read(&both).unwrap().verify(&file, &sig), Ok(()));
    let alone = Keys::read(&both[..1]).unwrap().verify(&file, &sig).unwrap_err();
    assert!(alone.contains("none by a key"), "{alone}");
    let missing = Keys::read(&[ours.path().join("pub"), ours.path().join("gone")]).unwrap_err();
    assert!(missing.contains("gone: No such file"), "{missing}");
}

#[test]
fn what_is_no_key_and_no_signature_is_refused_with_what_to_do() {
    for (script, said) in [
        ("echo x >pub; echo x >sig", "no ed25519 public key"),
        (&format!("{OPENSSL}; cp key pub"), "a private key, which does not belong on a node"),
        (
            "openssl genpkey -algorithm ed448 -out key; openssl pkey -in key -pubout -out pub; echo >sig",
            "no ed25519 public key",
        ),
        ("head -c 20000 /dev/zero >pub; echo >sig", "longer than 16384 bytes"),
        (&format!("{OPENSSL}; echo eHg= >sig"), "the signature is none of ed25519"),
        (&format!("{OPENSSL}; : >sig"), "the signature is none of ed25519"),
        ("minisign -G -W -p pub -s key >/dev/null; minisign -S -s key -m file -x sig >/dev/null", "minisign -S -l"),
    ] {
        let why = check(&made(script)).unwrap_err();
        assert!(why.contains(said), "{script}: {why}");
    }
}
