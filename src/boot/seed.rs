//! The random seed kept on data: [`load`].
//!
//! The rules, as those of systemd-random-seed(8) and SeedRNG: a seed is credited at most once, so it is removed from the disk,
//! and that synced, before it is used. A seed is worth crediting only if the kernel's generator was ready when it was made. The
//! next seed holds a hash of the old one, so that what was once unguessable stays so. No image holds a seed: two gateways never
//! begin with the same one.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use rustix::rand::{GetRandomFlags, getrandom};
use sha2::{Digest as _, Sha512};

use super::Boot;
use crate::sys::entropy::{self, SEED};
use crate::sys::replace::{replace_durably, take_durably};

/// Name of the file in the state directory: version, whether to credit it, the seed.
const FILE: &str = "random-seed";
const VERSION: u8 = 1;

/// A seed as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seed {
    bytes: [u8; SEED],
    /// Made by a generator that was ready.
    credit: bool,
}

impl Seed {
    fn parse(file: &[u8]) -> Option<Self> {
        let [VERSION, credit @ (0 | 1), rest @ ..] = file else { return None };
        Some(Self { bytes: rest.try_into().ok()?, credit: *credit == 1 })
    }

    fn to_file(&self) -> Vec<u8> {
        let mut file = vec![VERSION, u8::from(self.credit)];
        file.extend_from_slice(&self.bytes);
        file
    }

    /// The next one: what the generator gives, and the old one.
    fn after(old: Option<&Self>) -> io::Result<Self> {
        let mut fresh = [0; SEED];
        let ready = getrandom(&mut fresh[..], GetRandomFlags::NONBLOCK).is_ok_and(|count| count == SEED);
        if !ready {
            getrandom(&mut fresh[..], GetRandomFlags::INSECURE)?;
        }
        Ok(Self::mixed(old, fresh, ready))
    }

    fn mixed(old: Option<&Self>, fresh: [u8; SEED], credit: bool) -> Self {
        let mut hash = Sha512::new();
        hash.update(b"gatepost seed 1");
        if let Some(old) = old {
            hash.update(old.bytes);
        }
        hash.update(fresh);
        let mut bytes = [0; SEED];
        for (byte, value) in bytes.iter_mut().zip(hash.finalize()) {
            *byte = value;
        }
        Self { bytes, credit }
    }
}

/// The stage `seed`.
pub(super) fn load(boot: &Boot) -> Result<String, String> {
    let state = boot.config().layout.state();
    // As the state writer makes it.
    let made = fs::create_dir_all(&state)
        .and_then(|()| fs::set_permissions(&state, std::os::unix::fs::PermissionsExt::from_mode(0o700)));
    made.map_err(|e| format!("{}: {e}", state.display()))?;
    let old = take(&state).map_err(|e| format!("{}: {e}", state.join(FILE).display()))?;
    let mut used = "none yet";
    if let Some(old) = &old {
        entropy::add(&old.bytes, old.credit).map_err(|e| format!("the kernel does not take it: {e}"))?;
        used = if old.credit { "credited" } else { "mixed in" };
    }
    let next = Seed::after(old.as_ref()).map_err(|e| e.to_string())?;
    let kept = File::open(&state).and_then(|directory| replace_durably(directory, FILE, &next.to_file(), 0o600));
    kept.map_err(|e| format!("the next one cannot be kept: {e}"))?;
    Ok(format!("{used}, the next one is kept"))
}

/// Takes the seed off the disk. A damaged one is none.
fn take(state: &Path) -> io::Result<Option<Seed>> {
    Ok(take_durably(state, FILE)?.as_deref().and_then(Seed::parse))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_gone_from_the_disk_before_it_is_used_and_damage_is_no_seed() {
        let state = tempfile::tempdir().unwrap();
        let seed = Seed { bytes: [7; SEED], credit: true };
        fs::write(state.path().join(FILE), seed.to_file()).unwrap();
        assert_eq!(take(state.path()).unwrap(), Some(seed.clone()));
        assert_eq!(take(state.path()).unwrap(), None);
        let mut damaged = seed.to_file();
        damaged.pop();
        for file in [&damaged[..], b"", &[9; SEED + 2], &[VERSION, 2]] {
            fs::write(state.path().join(FILE), file).unwrap();
            assert_eq!(take(state.path()).unwrap(), None);
        }
    }

    #[test]
    fn the_next_seed_depends_on_the_old_one_and_on_the_generator() {
        let old = Seed { bytes: [1; SEED], credit: true };
        let other = Seed { bytes: [2; SEED], credit: true };
        let next = Seed::mixed(Some(&old), [3; SEED], false);
        assert!(!next.credit);
        assert_ne!(next.bytes, Seed::mixed(Some(&other), [3; SEED], false).bytes);
        assert_ne!(next.bytes, Seed::mixed(Some(&old), [4; SEED], false).bytes);
        assert_ne!(next.bytes, Seed::mixed(None, [3; SEED], false).bytes);
        assert_ne!(next.bytes, old.bytes);
        assert_eq!(Seed::parse(&next.to_file()), Some(next));
    }
}
