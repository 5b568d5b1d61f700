//! [`Report`]: what the role `boot` tells init, and what init tells it at its start.
//!
//! Init starts `gatepost boot` with its end of a `SOCK_SEQPACKET` pair as descriptor [`CHANNEL`]; each message is one record, and
//! nothing is answered. Boot begins with [`Report::Hello`] and ends with [`Report::Ready`] and exit status 0. A record may come at
//! any time between, as often as boot likes; a later one replaces an earlier one of its kind.
//!
//! A boot that crashes, ends without `Ready`, lets its deadline pass, or sends something that is no record is killed with all it
//! started. Init then starts it once more with [`DEFAULTS`] as the last argument: it shall read nothing, neither configuration
//! nor command line, and prepare the node with the defaults. After that the supervisor is started, whatever came of it.

use std::ffi::CStr;

use super::{Fields, VERSION, record};

/// Boot's descriptor of its end of the socket pair; non-blocking.
pub const CHANNEL: i32 = 3;

/// The last argument of a boot whose predecessor failed.
pub const DEFAULTS: &CStr = c"defaults";

/// Environment variable of boot: WDIOC_GETBOOTSTATUS of the hardware watchdog in decimal; missing when there is no watchdog.
pub const WATCHDOG_STATUS: &str = "GATEPOST_WATCHDOG_STATUS";

/// Environment variable of boot: CLOCK_BOOTTIME in milliseconds at which PID 1 began.
pub const INIT_MS: &str = "GATEPOST_INIT_MS";

/// How long a stage of boot may take before boot has told a deadline of its own, in milliseconds.
pub const FIRST_DEADLINE_MS: u64 = 60_000;

/// The longest deadline that init believes, in milliseconds from now.
pub const LONGEST_STAGE_MS: u64 = 600_000;

/// How long the pods may take to stop at the shutdown unless boot told another bound, in seconds.
pub const SHUTDOWN_BOUND_S: u32 = 120;

/// The longest bound of a shutdown that init believes, in seconds.
pub const LONGEST_SHUTDOWN_S: u32 = 3_600;

/// What boot tells init.
///
/// Layout, little-endian: kind u16, version u16, short u32, long u64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// The first record.
    Hello {
        /// [`VERSION`] as boot knows it.
        version: u16,
    },
    /// The stage that runs now, and whatever follows until the next deadline is told, may take until this time (CLOCK_BOOTTIME in
    /// milliseconds; at most [`LONGEST_STAGE_MS`] from now counts).
    Deadline {
        /// See above.
        boottime_ms: u64,
    },
    /// What the board says about its hardware watchdog.
    Watchdog {
        /// The time-out that is wanted, in seconds; 0: init's default.
        timeout_s: u16,
        /// The longest time-out the hardware keeps, whatever its driver says, in seconds; 0: not known.
        max_s: u16,
    },
    /// How long all pods together may take to stop before a reboot or poweroff.
    ShutdownBound {
        /// At most [`LONGEST_SHUTDOWN_S`] counts.
        seconds: u32,
    },
    /// Keep this service running from now on.
    Service {
        /// Which.
        kind: Service,
    },
    /// The node is prepared: `setup.json` lies in the run directory, and the supervisor can be started.
    Ready,
}

/// What init keeps running besides the supervisor: each a role of this binary, started again after growing delays for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// `gatepost console`. Kept running without boot's word too when boot failed.
    Console,
    /// `gatepost dhcp`.
    Dhcp,
}

impl Report {
    /// Bytes of a record.
    pub const SIZE: usize = 16;

    /// The record as it travels.
    pub fn to_bytes(self) -> [u8; Self::SIZE] {
        let (kind, short, long): (u16, u32, u64) = match self {
            Self::Hello { version } => (1, u32::from(version), 0),
            Self::Deadline { boottime_ms } => (2, 0, boottime_ms),
            Self::Watchdog { timeout_s, max_s } => (3, u32::from(timeout_s), u64::from(max_s)),
            Self::ShutdownBound { seconds } => (4, seconds, 0),
            Self::Service { kind: Service::Console } => (5, 1, 0),
            Self::Service { kind: Service::Dhcp } => (5, 2, 0),
            Self::Ready => (6, 0, 0),
        };
        record(
            (kind.to_le_bytes().into_iter())
                .chain(VERSION.to_le_bytes())
                .chain(short.to_le_bytes())
                .chain(long.to_le_bytes()),
        )
    }

    /// The record in `bytes`, or `None` when there is none this version knows. A `Hello` of another version is understood, so that it
    /// can be told.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != Self::SIZE {
            return None;
        }
        let mut fields = Fields(bytes);
        let (kind, version) = (fields.u16()?, fields.u16()?);
        let (short, long) = (fields.u32()?, fields.u64()?);
        match kind {
            1 => Some(Self::Hello { version: u16::try_from(short).ok()? }),
            _ if version != VERSION => None,
            2 => Some(Self::Deadline { boottime_ms: long }),
            3 => Some(Self::Watchdog { timeout_s: u16::try_from(short).ok()?, max_s: u16::try_from(long).ok()? }),
            4 => Some(Self::ShutdownBound { seconds: short }),
            5 if short == 1 => Some(Self::Service { kind: Service::Console }),
            5 if short == 2 => Some(Self::Service { kind: Service::Dhcp }),
            6 => Some(Self::Ready),
            _ => None,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn reports_have_the_bytes_they_always_had() {
        let golden = [
            (Report::Hello { version: 1 }, "01000100010000000000000000000000"),
            (Report::Deadline { boottime_ms: 1_000_000 }, "020001000000000040420f0000000000"),
            (Report::Watchdog { timeout_s: 30, max_s: 16 }, "030001001e0000001000000000000000"),
            (Report::ShutdownBound { seconds: 120 }, "04000100780000000000000000000000"),
            (Report::Service { kind: Service::Console }, "05000100010000000000000000000000"),
            (Report::Service { kind: Service::Dhcp }, "05000100020000000000000000000000"),
            (Report::Ready, "06000100000000000000000000000000"),
        ];
        for (report, hex) in golden {
            let bytes = report.to_bytes();
            assert_eq!(bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}")), hex, "{report:?}");
            assert_eq!(Report::from_bytes(&bytes), Some(report));
        }
    }

    #[test]
    fn garbage_and_other_versions_are_no_reports_but_a_hello_is() {
        let mut other = Report::Ready.to_bytes();
        other[2] = 9;
        assert_eq!(Report::from_bytes(&other), None);
        assert_eq!(Report::from_bytes(&[0xff; Report::SIZE]), None);
        assert_eq!(Report::from_bytes(&[0; 3]), None);
        let mut hello = Report::Hello { version: 9 }.to_bytes();
        hello[2] = 9;
        assert_eq!(Report::from_bytes(&hello), Some(Report::Hello { version: 9 }));
    }
}
