//! [`is_told_elsewhere`]: which lines of the host log a console need not repeat.

/// Who writes to the console directly, since the console may be what is wrong; and what this process tells in its own words.
const ROOMS: [&str; 5] = ["init", "boot", "network", "farewell", "event"];

/// Whether a person at the console has seen this line's content, or will.
pub(super) fn is_told_elsewhere(line: &str) -> bool {
    let room = line.strip_prefix('[').and_then(|rest| rest.split_once("] ")?.1.split_once(": "));
    room.is_some_and(|(room, _)| ROOMS.contains(&room))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_others_say_is_shown() {
        for line in ["[    1.000001] init: reboot now", "[   12.000001] event: default/x Started"] {
            assert!(is_told_elsewhere(line), "{line}");
        }
        for line in ["[   12.000001] supervisor: warning: init: x", "time=\"now\" msg=\"init: \"", "init: x", "", "["] {
            assert!(!is_told_elsewhere(line), "{line}");
        }
    }
}
