//! [`Keys`]: what a key does, as a state machine of bytes and time. It makes no system call, so that line noise, slow typing and
//! forgotten prompts are tested with a clock moved by hand.

/// Milliseconds a prompt waits for its answer.
const PATIENCE_MS: u64 = 30_000;
/// Milliseconds after the first wrong password; doubled by each further one.
const FIRST_DELAY_MS: u64 = 2_000;
/// The longest of these waits.
const LONGEST_DELAY_MS: u64 = 60_000;
/// Bytes of an answer; a longer one is noise.
const LONGEST: usize = 128;
/// Bytes that are pasted.
const PASTED: usize = 256 << 10;
/// The line that ends what is pasted.
const END: &[u8] = b"# END";

/// What the board is told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Power {
    /// Stop all pods and start again.
    Reboot,
    /// Stop all pods and switch off.
    Off,
}

impl Power {
    /// The word that confirms it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Reboot => "reboot",
            Self::Off => "poweroff",
        }
    }
}

/// What a person wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wish {
    /// A word back.
    Say(&'static str),
    /// The keys.
    Help,
    /// The pods.
    Status,
    /// What happened.
    Events,
    /// The containers to choose a log from; answered with [`Keys::offer`].
    Choices,
    /// The log of the container with this index among those offered.
    Log(usize),
    /// The confirmed end.
    Power(Power),
    /// A shell, if the configuration allows one; answered with [`Keys::ask_password`].
    Shell,
    /// To know whether this is the password; answered with [`Keys::checked`].
    Check(Vec<u8>),
    /// To paste manifests, if the configuration allows it; answered with [`Keys::paste`].
    Apply,
    /// What was pasted.
    Pasted(Vec<u8>),
    /// To leave, where the console was started by hand.
    Quit,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Idle,
    /// An answer is typed, until that time.
    Asking {
        what: Question,
        typed: Vec<u8>,
        until: u64,
    },
    /// Manifests are pasted, as long as bytes come.
    Pasting {
        text: Vec<u8>,
        until: u64,
    },
    /// Nothing is taken before that time: the password was wrong.
    Deaf {
        until: u64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    Log { choices: usize },
    Confirm(Power),
    Password,
}

/// What the keys are for, and what was typed so far.
#[derive(Debug)]
pub(super) struct Keys {
    /// Whether there is an init to reboot the board.
    power: bool,
    /// Whether the console may be left.
    quit: bool,
    state: State,
    /// Wrong passwords since the last right one.
    wrong: u32,
}

impl Keys {
    /// `power`: reboot and poweroff are offered. `quit`: the console was started by hand and may be left.
    pub(super) fn new(power: bool, quit: bool) -> Self {
        Self { power, quit, state: State::Idle, wrong: 0 }
    }

    /// A byte came from the terminal at `now` (milliseconds).
    pub(super) fn byte(&mut self, byte: u8, now: u64) -> Option<Wish> {
        match &mut self.state {
            State::Deaf { until } if now < *until => None,
            State::Deaf { .. } | State::Idle => {
                self.state = State::Idle;
                self.command(byte, now)
            }
            State::Pasting { text, until } => {
                *until = now.saturating_add(PATIENCE_MS);
                let whole = take_pasted(text, byte);
                let ended = if byte == 3 { Some(Wish::Say("cancelled")) } else { whole };
                if ended.is_some() {
                    self.state = State::Idle;
                }
                ended
            }
            State::Asking { typed, .. } => match byte {
                b'\r' | b'\n' => self.answered(),
                // Ctrl-C, Ctrl-D, Escape.
                3 | 4 | 0x1b => {
                    self.state = State::Idle;
                    Some(Wish::Say("cancelled"))
                }
                // Backspace, delete.
                8 | 0x7f => {
                    typed.pop();
                    None
                }
                // Ctrl-U.
                0x15 => {
                    typed.clear();
                    None
                }
                0..=0x1f => None,
                _ if typed.len() >= LONGEST => {
                    self.state = State::Idle;
                    Some(Wish::Say("cancelled: too long"))
                }
                _ => {
                    typed.push(byte);
                    None
                }
            },
        }
    }

    /// One of the single keys.
    fn command(&mut self, byte: u8, now: u64) -> Option<Wish> {
        match byte {
            b'h' | b'?' | b'\r' | b'\n' => Some(Wish::Help),
            b's' => Some(Wish::Status),
            b'e' => Some(Wish::Events),
            b'l' => Some(Wish::Choices),
            b'a' => Some(Wish::Apply),
            b'!' => Some(Wish::Shell),
            b'r' if self.power => self.ask(Question::Confirm(Power::Reboot), now),
            b'p' if self.power => self.ask(Question::Confirm(Power::Off), now),
            b'q' | 3 | 4 if self.quit => Some(Wish::Quit),
            _ => None,
        }
    }

    fn ask(&mut self, what: Question, now: u64) -> Option<Wish> {
        self.state = State::Asking { what, typed: Vec::new(), until: now.saturating_add(PATIENCE_MS) };
        None
    }

    fn answered(&mut self) -> Option<Wish> {
        let State::Asking { what, typed, .. } = std::mem::replace(&mut self.state, State::Idle) else { return None };
        match what {
            Question::Confirm(power) if typed == power.word().as_bytes() => Some(Wish::Power(power)),
            Question::Confirm(_) => Some(Wish::Say("not confirmed")),
            Question::Password => Some(Wish::Check(typed)),
            Question::Log { .. } if typed.is_empty() => Some(Wish::Say("cancelled")),
            Question::Log { choices } => {
                let number = std::str::from_utf8(&typed).ok().and_then(|typed| typed.trim().parse::<usize>().ok());
                match number.and_then(|number| number.checked_sub(1)).filter(|index| *index < choices) {
                    Some(index) => Some(Wish::Log(index)),
                    None => Some(Wish::Say("no such number")),
                }
            }
        }
    }

    /// So many logs were offered, numbered from 1.
    pub(super) fn offer(&mut self, choices: usize, now: u64) {
        self.ask(Question::Log { choices }, now);
    }

    /// Manifests may be pasted.
    pub(super) fn paste(&mut self, now: u64) {
        self.state = State::Pasting { text: Vec::new(), until: now.saturating_add(PATIENCE_MS) };
    }

    /// The shell wants its password.
    pub(super) fn ask_password(&mut self, now: u64) {
        self.ask(Question::Password, now);
    }

    /// Whether the password was right. After a wrong one nothing is taken for a while, each time longer.
    pub(super) fn checked(&mut self, right: bool, now: u64) {
        if right {
            self.wrong = 0;
            return;
        }
        let delay =
            FIRST_DELAY_MS.checked_shl(self.wrong).unwrap_or(LONGEST_DELAY_MS).clamp(FIRST_DELAY_MS, LONGEST_DELAY_MS);
        // Bounded, so that the shift above never wraps round.
        self.wrong = self.wrong.saturating_add(1).min(16);
        self.state = State::Deaf { until: now.saturating_add(delay) };
    }

    /// When [`Self::tick`] has something to do.
    pub(super) fn deadline(&self) -> Option<u64> {
        match self.state {
            State::Idle => None,
            State::Asking { until, .. } | State::Pasting { until, .. } | State::Deaf { until } => Some(until),
        }
    }

    /// Ends what has waited too long.
    pub(super) fn tick(&mut self, now: u64) -> Option<Wish> {
        if self.deadline().is_none_or(|until| now < until) {
            return None;
        }
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Asking { .. } => Some(Wish::Say("cancelled: no answer came")),
            State::Pasting { .. } => Some(Wish::Say("cancelled: nothing more came, and no line # END")),
            State::Deaf { .. } | State::Idle => None,
        }
    }

    /// What is asked, with what was typed of the answer; empty when nothing is.
    pub(super) fn prompt(&self) -> String {
        let (what, typed) = match &self.state {
            State::Asking { what, typed, .. } => (what, typed),
            State::Pasting { text, .. } => return format!("Paste, then a line # END: {} bytes", text.len()),
            State::Idle | State::Deaf { .. } => return String::new(),
        };
        match what {
            Question::Confirm(power) => {
                format!("Type {} and Enter to do so: {}", power.word(), shown(typed))
            }
            Question::Log { .. } => format!("Log of which number? {}", shown(typed)),
            Question::Password => "Password: ".to_owned(),
        }
    }

    /// The keys there are.
    pub(super) fn help(&self, shell: bool, apply: bool) -> String {
        let mut keys = "s status  e events  l logs".to_owned();
        if apply {
            keys.push_str("  a apply");
        }
        if shell {
            keys.push_str("  ! shell");
        }
        if self.power {
            keys.push_str("  r reboot  p poweroff");
        }
        if self.quit {
            keys.push_str("  q quit");
        }
        keys + "  h help"
    }
}

/// Adds a byte to what is pasted: terminals end lines in several ways. What is wished for when that was all of it.
fn take_pasted(text: &mut Vec<u8>, byte: u8) -> Option<Wish> {
    match byte {
        b'\r' | b'\n' => {
            let start = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at.saturating_add(1));
            if text.get(start..).is_some_and(|line| line.trim_ascii_end() == END) {
                text.truncate(start);
                return Some(Wish::Pasted(std::mem::take(text)));
            }
            text.push(b'\n');
            None
        }
        // Backspace, delete: somebody types.
        8 | 0x7f => {
            text.pop();
            None
        }
        b'\t' | b' '.. if text.len() < PASTED => {
            text.push(byte);
            None
        }
        b'\t' | b' '.. => Some(Wish::Say("cancelled: too long")),
        _ => None,
    }
}

/// What was typed, as far as it can be shown; never so much that the row is full.
fn shown(typed: &[u8]) -> String {
    typed.iter().take(24).map(|byte| if byte.is_ascii_graphic() { char::from(*byte) } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn type_in(keys: &mut Keys, text: &[u8], now: u64) -> Vec<Wish> {
        text.iter().filter_map(|byte| keys.byte(*byte, now)).collect()
    }

    #[test]
    fn single_keys_are_wishes_and_others_are_nothing() {
        let mut keys = Keys::new(true, false);
        assert_eq!(type_in(&mut keys, b"se!", 0), [Wish::Status, Wish::Events, Wish::Shell]);
        assert_eq!(type_in(&mut keys, b"\xff\xfe\x00SEq\x03\x1b[A", 0), []);
        assert_eq!(type_in(&mut keys, b"\r", 0), [Wish::Help]);
    }

    #[test]
    fn a_reboot_needs_its_word_and_enter_in_time() {
        let mut keys = Keys::new(true, false);
        assert_eq!(type_in(&mut keys, b"r", 0), []);
        assert_eq!(keys.prompt(), "Type reboot and Enter to do so: ");
        assert_eq!(type_in(&mut keys, b"reboox\x08t\r", 10), [Wish::Power(Power::Reboot)]);
        assert_eq!(type_in(&mut keys, b"pPOWEROFF\r", 20), [Wish::Say("not confirmed")]);
        assert_eq!(type_in(&mut keys, b"ppoweroff\n", 20), [Wish::Power(Power::Off)]);
        type_in(&mut keys, b"rreboot", 100);
        assert_eq!(keys.deadline(), Some(100 + PATIENCE_MS));
        assert_eq!(keys.tick(PATIENCE_MS), None);
        assert_eq!(keys.tick(100 + PATIENCE_MS), Some(Wish::Say("cancelled: no answer came")));
        assert_eq!(type_in(&mut keys, b"\r", 40_000), [Wish::Help]);
        assert_eq!(keys.deadline(), None);
    }

    #[test]
    fn without_our_init_there_is_no_key_to_reboot() {
        let mut keys = Keys::new(false, true);
        assert_eq!(
            type_in(&mut keys, b"rreboot\rppoweroff\r", 0).iter().filter(|w| matches!(w, Wish::Power(_))).count(),
            0
        );
        assert!(!keys.help(false, false).contains("reboot") && keys.help(true, false).contains("! shell"));
        assert_eq!(Keys::new(false, true).byte(3, 0), Some(Wish::Quit));
    }

    #[test]
    fn what_is_pasted_is_taken_whole_up_to_its_last_line() {
        let mut keys = Keys::new(true, false);
        assert_eq!(type_in(&mut keys, b"a", 0), [Wish::Apply]);
        keys.paste(0);
        assert_eq!(type_in(&mut keys, b"kind: Pod\r# END of it\r\x1b\ttab\r", 10), []);
        assert!(keys.prompt().contains("27 bytes"), "{}", keys.prompt());
        assert_eq!(keys.deadline(), Some(10 + PATIENCE_MS));
        let pasted = Wish::Pasted(b"kind: Pod\n# END of it\n\ttab\n".to_vec());
        assert_eq!(type_in(&mut keys, b"# END \rs", 20), [pasted, Wish::Status]);
        keys.paste(0);
        assert_eq!(type_in(&mut keys, b"r\x03", 0), [Wish::Say("cancelled")]);
        keys.paste(0);
        type_in(&mut keys, b"kind", 0);
        assert!(matches!(keys.tick(PATIENCE_MS), Some(Wish::Say(said)) if said.contains("no line # END")));
        keys.paste(0);
        assert_eq!(type_in(&mut keys, &vec![b'x'; PASTED + 1], 0), [Wish::Say("cancelled: too long")]);
    }

    #[test]
    fn line_noise_never_reboots() {
        // A fixed generator (xorshift): every run sees the same noise.
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut keys = Keys::new(true, false);
        for now in 0..1_000_000 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let [byte, ..] = state.to_le_bytes();
            assert!(!matches!(keys.byte(byte, now), Some(Wish::Power(_))));
            keys.tick(now);
            if let Some(until) = keys.deadline() {
                assert!(until <= now + PATIENCE_MS);
            }
        }
    }

    #[test]
    fn a_log_is_chosen_by_its_number() {
        let mut keys = Keys::new(false, false);
        let mut choose = |typed: &[u8]| {
            keys.offer(3, 0);
            type_in(&mut keys, typed, 1)
        };
        assert_eq!(choose(b"3\r"), [Wish::Log(2)]);
        assert_eq!(choose(b"4\r"), [Wish::Say("no such number")]);
        assert_eq!(choose(b"0\r"), [Wish::Say("no such number")]);
        assert_eq!(choose(b"\xff\r"), [Wish::Say("no such number")]);
        assert_eq!(choose(b"\r"), [Wish::Say("cancelled")]);
        assert_eq!(choose(b"1\x1b"), [Wish::Say("cancelled")]);
        assert_eq!(choose(&[b'1'; 200]).first(), Some(&Wish::Say("cancelled: too long")));
    }

    #[test]
    fn a_password_is_not_shown_and_a_wrong_one_makes_deaf_for_longer_each_time() {
        let mut keys = Keys::new(false, false);
        let mut now = 0;
        for delay in [2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000] {
            keys.ask_password(now);
            assert_eq!(type_in(&mut keys, "gehe\u{ef}m\r".as_bytes(), now), [Wish::Check("gehe\u{ef}m".into())]);
            assert_eq!(keys.prompt(), "");
            keys.checked(false, now);
            assert_eq!(type_in(&mut keys, b"s!", now + delay - 1), []);
            now += delay;
            assert_eq!(keys.deadline(), Some(now));
            assert_eq!(type_in(&mut keys, b"s", now), [Wish::Status]);
        }
        keys.ask_password(now);
        type_in(&mut keys, b"secret", now);
        assert_eq!(keys.prompt(), "Password: ");
        type_in(&mut keys, b"\r", now);
        keys.checked(true, now);
        keys.checked(false, now);
        assert_eq!(keys.deadline(), Some(now + 2_000));
    }
}
