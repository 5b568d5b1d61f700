//! `gatepost last-boot`: why this machine went down the last time.

use std::fmt::Write as _;
use std::io;
use std::process::ExitCode;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::failure::{Failure, Outcome};
use super::invocation::Invocation;
use super::{age, output};
use crate::boot::last_boot::LastBoot;
use crate::json;

/// The values of `-o`.
pub(super) const FORMATS: &[&str] = &["json"];

/// `gatepost last-boot`.
pub(super) fn run(invocation: &Invocation) -> Outcome {
    invocation.at_most(0)?;
    let run = invocation.layout().run;
    let report = LastBoot::read(&run).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Failure::failed(format!(
            "nothing is known of the last boot: there is no report in {}; only a gatepost that is PID 1 makes one",
            run.display()
        )),
        _ => Failure::failed(format!("the report of the last boot in {}: {error}", run.display())),
    })?;
    let text = match invocation.value("output")? {
        None => describe(&report),
        Some("json") => {
            let value = json::to_value(&report).map_err(|error| Failure::failed(error.to_string()))?;
            format!("{}\n", output::to_json(&value).trim_end())
        }
        Some(other) => {
            return Err(Failure::unknown("output format", other, FORMATS.iter().copied(), "the only one is json"));
        }
    };
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn describe(report: &LastBoot) -> String {
    let mut text = format!("Went down:  {}\n", report.cause());
    if let Some(farewell) = &report.farewell {
        let when =
            OffsetDateTime::from_unix_timestamp(farewell.wall_ms / 1000).ok().and_then(|at| at.format(&Rfc3339).ok());
        writeln!(text, "When:       {}", when.map_or_else(|| "not known".to_owned(), |at| age::rfc1123(&at))).ok();
        writeln!(text, "Shutdown:   {}.{:03} s", farewell.took_ms / 1000, farewell.took_ms % 1000).ok();
        writeln!(text, "Killed:     {} processes that did not end by themselves", farewell.killed).ok();
    }
    match report.watchdog_status {
        Some(status) if report.bitten() => writeln!(text, "Watchdog:   it reset the board (status {status:#x})"),
        Some(status) => writeln!(text, "Watchdog:   not the cause (status {status:#x})"),
        None => writeln!(text, "Watchdog:   none"),
    }
    .ok();
    for file in &report.pstore {
        writeln!(text, "Kernel log: {}", file.display()).ok();
    }
    for line in report.tail.lines() {
        writeln!(text, "  {line}").ok();
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn an_orderly_shutdown_says_when_and_how_long() {
        let report: LastBoot = json::from_str(
            r#"{"version":1,"first":false,"watchdogStatus":32768,"pstore":[],"tail":"",
                "farewell":{"version":1,"action":"reboot","reason":"signal TERM","wall_ms":1700000000000,"took_ms":2345,"killed":1}}"#,
        )
        .unwrap();
        assert_eq!(
            describe(&report),
            "Went down:  reboot: signal TERM\nWhen:       Tue, 14 Nov 2023 22:13:20 +0000\nShutdown:   2.345 s\n\
             Killed:     1 processes that did not end by themselves\nWatchdog:   not the cause (status 0x8000)\n"
        );
    }

    #[test]
    fn the_kernels_last_words_are_shown() {
        let report = LastBoot {
            version: 1,
            first: false,
            farewell: None,
            watchdog_status: None,
            pstore: vec!["/d/pstore/1-dmesg-ramoops-0".into()],
            tail: "Kernel panic\n".to_owned(),
            crashed: true,
        };
        let text = describe(&report);
        assert!(text.starts_with("Went down:  the kernel crashed"), "{text}");
        assert!(text.ends_with("Kernel log: /d/pstore/1-dmesg-ramoops-0\n  Kernel panic\n"), "{text}");
    }
}
