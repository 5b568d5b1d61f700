//! What a person gets: the answers to [`Wish`]es, what commands have printed, and the shell.

use std::process::ExitCode;

use serde_json::Value;

use super::child::{self, Shell, View};
use super::keys::{Power, Wish};
use super::tty::Style;
use super::{Console, access, line};
use crate::config::ConsoleShell;
use crate::printer::columns::{PodRow, Shown, header};
use crate::printer::view::{list, text};
use crate::printer::{age, tabs};
use crate::sys::clock::boottime_ms;
use crate::sys::host_log;
use crate::sys::signal::Signal;

/// Lines of a log, or of the events, that a key shows.
const SHOWN: usize = 20;

/// A container whose log can be shown.
pub(super) struct Choice {
    namespace: String,
    pod: String,
    container: String,
}

impl Choice {
    fn name(&self) -> String {
        format!("{}/{} {}", self.namespace, self.pod, self.container)
    }
}

impl Console {
    pub(super) fn help(&self) -> String {
        let settings = access::settings(&self.layout.setup());
        self.keys.help(settings.shell != ConsoleShell::None, settings.apply)
    }

    pub(super) fn fulfil(&mut self, wish: Wish) {
        match wish {
            Wish::Say(words) => self.say("console", words),
            Wish::Help => self.say("console", &self.help()),
            Wish::Status => self.status(),
            Wish::Events => self.start_view(&["get", "events", "-A"]),
            Wish::Choices => self.offer_logs(),
            Wish::Log(index) => {
                if index == self.choices.len() {
                    return self.show_host_log();
                }
                if let Some(Choice { namespace, pod, container }) = self.choices.get(index) {
                    let (namespace, pod, container) = (namespace.clone(), pod.clone(), container.clone());
                    self.say("console", &format!("the last lines of {namespace}/{pod} {container}"));
                    let tail = SHOWN.to_string();
                    self.start_view(&["logs", &pod, "-n", &namespace, "-c", &container, "--tail", &tail]);
                }
            }
            Wish::Power(power) => self.power(power),
            Wish::Apply if access::settings(&self.layout.setup()).apply => self.keys.paste(boottime_ms()),
            Wish::Apply => self.say("console", "the configuration allows no manifests from here (consoleApply)"),
            Wish::Pasted(text) => self.start_view_of(&["apply", "-f", "-"], Some(&text)),
            Wish::Shell => match access::settings(&self.layout.setup()).shell {
                ConsoleShell::None => self.say("console", "the configuration allows no shell (consoleShell)"),
                ConsoleShell::Open => self.start_shell(),
                ConsoleShell::Password(_) => self.keys.ask_password(boottime_ms()),
            },
            Wish::Check(typed) => self.check(&typed),
            Wish::Quit => self.end = Some(ExitCode::SUCCESS),
        }
    }

    fn status(&mut self) {
        if self.pods.is_empty() {
            return self.say("console", "no pods");
        }
        let shown = Shown { namespace: true, ..Shown::default() };
        let now = age::now();
        let mut rows: Vec<String> =
            self.pods.iter().map(|pod| line::plain_cells(&PodRow::new(pod, now).line(shown))).collect();
        rows.sort();
        for row in tabs::align(&format!("{}\n{}\n", header(shown), rows.join("\n")), tabs::TABLE).lines() {
            self.print(row.trim_end());
        }
        if self.lost.is_some() {
            self.say("console", "this is how it was last: there is no supervisor");
        }
    }

    fn offer_logs(&mut self) {
        self.choices = self.pods.iter().flat_map(choices).collect();
        self.choices.sort_by(|a, b| (&a.namespace, &a.pod).cmp(&(&b.namespace, &b.pod)));
        let mut names: Vec<String> = self.choices.iter().map(Choice::name).collect();
        if self.host.is_some() {
            names.push("gatepost itself".to_owned());
        }
        if names.is_empty() {
            return self.say("console", "no container has been started yet");
        }
        for (number, name) in (1_usize..).zip(&names) {
            self.print(&line::plain(&format!("{number:3}  {name}")));
        }
        self.keys.offer(names.len(), boottime_ms());
    }

    /// All of its lines, those that were on this console among them.
    fn show_host_log(&mut self) {
        self.say("console", &format!("the last lines of {}", host_log::PATH));
        for line in self.host.as_mut().map(|host| host.last(SHOWN)).unwrap_or_default() {
            self.print(&line::plain(&line));
        }
    }

    fn power(&mut self, power: Power) {
        let signal = match power {
            Power::Reboot => Signal::TERM,
            Power::Off => Signal::USR2,
        };
        match rustix::process::kill_process(rustix::process::Pid::INIT, signal) {
            Ok(()) => self.say("console", &format!("{} was asked for; pods are stopped first", power.word())),
            Err(error) => self.say("console", &format!("init cannot be asked: {error}")),
        }
    }

    // ---- commands whose output is shown

    fn start_view(&mut self, arguments: &[&str]) {
        self.start_view_of(arguments, None);
    }

    fn start_view_of(&mut self, arguments: &[&str], input: Option<&[u8]>) {
        if self.view.is_some() {
            return self.say("console", "still busy with the last one");
        }
        match View::start(arguments, input, &self.layout.run, boottime_ms()) {
            Ok(view) => self.view = Some(view),
            Err(error) => self.say("console", &format!("cannot look: {error}")),
        }
    }

    pub(super) fn view_printed(&mut self) {
        if self.view.as_mut().is_some_and(View::read) {
            self.show_view("");
        }
    }

    pub(super) fn show_view(&mut self, note: &str) {
        let Some(view) = self.view.take() else { return };
        let lines = view.finish(SHOWN.saturating_add(1));
        if lines.is_empty() {
            self.print(&format!("(nothing){note}"));
        }
        for line in lines {
            self.print(&line::plain(&line));
        }
        if !note.is_empty() {
            self.say("console", &format!("that is not all{note}"));
        }
    }

    // ---- the shell

    fn check(&mut self, typed: &[u8]) {
        let right = match access::settings(&self.layout.setup()).shell {
            ConsoleShell::Password(hash) => access::is_password(&hash, typed),
            ConsoleShell::Open | ConsoleShell::None => false,
        };
        self.keys.checked(right, boottime_ms());
        if right {
            self.start_shell();
        } else {
            self.say("console", "wrong password; no key is taken for a while");
        }
    }

    fn start_shell(&mut self) {
        let timeout = access::settings(&self.layout.setup()).timeout;
        let timeout = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        self.say("console", "a shell; `exit` comes back here");
        self.output.prompt(String::new());
        self.write();
        let started = Shell::start(self.tty.size(), timeout, boottime_ms());
        match (started, self.tty.style(Style::Bytes)) {
            (Ok(shell), Ok(())) => self.shell = Some(shell),
            (Err(error), _) => self.say("console", &format!("no shell: {error}")),
            (_, Err(error)) => self.terminal_gone(&error),
        }
    }

    pub(super) fn shell_printed(&mut self) {
        if let Some(shell) = &mut self.shell {
            shell.pass_on();
            if !shell.read() {
                self.shell_ended();
            }
        }
    }

    pub(super) fn shell_ended(&mut self) {
        // Its last words, as far as both terminals give and take them at once.
        while self.shell.as_mut().is_some_and(|shell| shell.read() && !shell.out.is_empty()) {
            self.write();
            if self.shell.as_ref().is_none_or(|shell| !shell.out.is_empty()) {
                break;
            }
        }
        if let Some(shell) = self.shell.take() {
            // It may have left its terminal and live on.
            shell.kill();
        }
        child::reap();
        self.output.forget_drawn();
        if let Err(error) = self.tty.style(Style::Lines) {
            return self.terminal_gone(&error);
        }
        self.say("console", "the shell has ended");
    }
}

/// The containers of a pod that have been started.
fn choices(pod: &Value) -> Vec<Choice> {
    let statuses = list(pod, "/status/initContainerStatuses").iter().chain(list(pod, "/status/containerStatuses"));
    let started = statuses.filter(|status| !text(status, "/containerID").is_empty());
    started
        .map(|status| Choice {
            namespace: text(pod, "/metadata/namespace").to_owned(),
            pod: text(pod, "/metadata/name").to_owned(),
            container: text(status, "/name").to_owned(),
        })
        .collect()
}
