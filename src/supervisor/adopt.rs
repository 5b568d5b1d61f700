//! What a previous supervisor left: containers that live, ends that nobody has seen, and half-done things.
//!
//! Order matters. Init keeps every zombie until we say otherwise, so: store the waiting exit records, end the old helpers (done
//! by [`super::helpers::Helpers::take_over`]), look at each instance's directory and at the runtime, register what lives, and
//! only then let init reap again.

use super::Supervisor;
use super::instance::{self, Instance, Phase, Record};
use super::persist::directories;
use crate::config::Layout;
use crate::pod::event::{Exit, Found, Seq, StartMode};
use crate::pod::time::Now;
use crate::runtime::{self, Status};
use crate::sorted::BTreeMap;
use crate::supervisor::init_link::Link;
use crate::sys::process;

/// What was found: for the core, and for the loop.
#[derive(Debug, Default)]
pub(super) struct Adopted {
    /// For the core.
    pub(super) found: BTreeMap<Seq, Found>,
    /// For the loop.
    pub(super) instances: BTreeMap<Seq, Instance>,
}

/// Looks at everything below `/run`.
pub(super) fn adopt(layout: &Layout, link: &mut Link, now: Now) -> Adopted {
    let mut adopted = Adopted::default();
    let mut records = BTreeMap::new();
    let mut ends = BTreeMap::new();
    for id in directories(&layout.containers()) {
        let directory = layout.container(&id);
        match instance::load(&directory) {
            Ok(Some(record)) => {
                match instance::load_exit(&directory) {
                    Ok(exit) => ends.extend(exit.map(|exit| (record.seq, exit))),
                    Err(error) => log::error!("{error}"),
                }
                records.insert(record.seq, record);
            }
            // Killed before the record was written: nothing was started.
            Ok(None) => remove_traces(layout, &id),
            Err(error) => log::error!("{error}"),
        }
    }
    store_exit_records(layout, link, &records, &mut ends);
    for (seq, record) in &records {
        let (found, instance) = look_at(layout, link, record.clone(), ends.get(seq), now);
        adopted.found.insert(*seq, found);
        adopted.instances.insert(*seq, instance);
    }
    // Registering a zombie makes init write its record at once.
    store_exit_records(layout, link, &records, &mut ends);
    for (seq, exit) in ends {
        let Some(instance) = adopted.instances.get_mut(&seq) else { continue };
        instance.exit = Some(exit.clone());
        if instance.phase == Phase::Ended {
            adopted.found.insert(seq, Found::Exited(exit));
        } else {
            // What it left in its cgroup is killed before the core is told.
            instance.phase = Phase::Emptying;
            instance.pidfd = None;
            instance.look_again = Some((now.boot, 2));
        }
    }
    adopted
}

/// Stores what init's waiting records say, then consumes them. `ends`: what is stored, which stays.
fn store_exit_records(layout: &Layout, link: &mut Link, known: &BTreeMap<Seq, Record>, ends: &mut BTreeMap<Seq, Exit>) {
    loop {
        let waiting = match link.peek_exit_records() {
            Ok(waiting) if waiting.is_empty() => return,
            Ok(waiting) => waiting,
            Err(error) => {
                log::error!("cannot read init's exit records: {error}");
                return;
            }
        };
        for told in &waiting {
            let seq = Seq(told.token);
            let Some(record) = known.get(&seq).filter(|_| !ends.contains_key(&seq)) else { continue };
            let exit = instance::exit_of(told, instance::termination_message(&record.termination_message));
            if let Err(error) = instance::save_exit(&layout.container(&record.id), &exit) {
                log::error!("{error}");
            }
            ends.insert(seq, exit);
        }
        if let Err(error) = link.consume_exit_records(waiting.len()) {
            log::error!("cannot consume init's exit records: {error}");
            return;
        }
    }
}

/// What became of one instance.
fn look_at(layout: &Layout, link: &mut Link, mut record: Record, exit: Option<&Exit>, now: Now) -> (Found, Instance) {
    let directory = layout.container(&record.id);
    let observed = runtime::observed(&layout.runtime_root(), &record.id);
    let ended = |record: Record, found: Found| (found, Instance::new(record, Phase::Ended));
    if exit.is_some() {
        let pid = record.pid.unwrap_or(0);
        return (Found::Running { pid }, Instance::new(record, Phase::Emptying));
    }
    let Some(observed) = observed else {
        // The runtime knows nothing of it. With a pid it did run once.
        return match record.pid {
            Some(_) => ended(record, Found::Exited(instance::unseen_exit(now.boot, now.wall))),
            None => ended(record, Found::Gone),
        };
    };
    if observed.waiting && record.mode == StartMode::Run {
        // The runtime was ended before it let the program go: nothing of it has run. It is begun again under a new number, and
        // what there is of this one, alive or not, is removed.
        return ended(record, Found::Gone);
    }
    let pid = observed.pid;
    let alive =
        process::open(pid).ok().filter(|_| process::stat(pid).is_ok_and(|s| s.start_time == observed.start_time));
    record.pid = Some(pid);
    record.start_time = Some(observed.start_time);
    if let Err(error) = instance::save(&directory, &record) {
        log::error!("{error}");
    }
    // A zombie of init's counts as alive here: registering it yields its record.
    let registered = link.register(pid, record.seq.0);
    let created = observed.status == Status::Created;
    match (alive, registered) {
        (Some(pidfd), registered) => {
            let mut instance = Instance::new(record, if created { Phase::Created } else { Phase::Running });
            instance.pidfd = Some(pidfd);
            instance.foreign = registered.is_err();
            let found = if created { Found::Created { pid } } else { Found::Running { pid } };
            (found, instance)
        }
        (None, Ok(_)) => (Found::Running { pid }, Instance::new(record, Phase::Running)),
        (None, Err(_)) if created => ended(record, Found::Gone),
        (None, Err(_)) => ended(record, Found::Exited(instance::unseen_exit(now.boot, now.wall))),
    }
}

fn remove_traces(layout: &Layout, id: &str) {
    log::debug!("{id}: has no record; removing its traces");
    let directory = layout.container(id);
    if let Err(error) = std::fs::remove_dir_all(&directory) {
        log::warn!("cannot remove {}: {error}", directory.display());
    }
}

impl Supervisor {
    /// Goes on copying the output of every instance whose log is not finished, and watches what init cannot tell of.
    pub(super) fn resume(&mut self) {
        self.watch_all_sizes();
        let all: Vec<Seq> = self.instances.keys().copied().collect();
        for seq in all {
            let Some(instance) = self.instances.get(&seq) else { continue };
            let (tty, ended, foreign) = (instance.record.tty, instance.phase == Phase::Ended, instance.foreign);
            if instance.record.stored {
                // Nothing is left to be copied, and its directory may be half removed.
            } else if tty {
                match self.link.fetch(crate::wire::hold_key(seq.0, 0)) {
                    Ok((master, _)) => self.read_terminal(seq, master),
                    Err(error) => log::debug!("instance {}: no terminal at init: {error}", seq.0),
                }
            } else {
                self.hold_again(seq);
                self.copy_streams(seq);
            }
            if foreign {
                self.watch_foreign(seq);
            }
            if ended {
                self.close_streams(seq);
            }
        }
    }

    /// A new init (next to a host init) holds nothing yet; one that already does says the same slots again.
    fn hold_again(&mut self, seq: Seq) {
        use std::os::fd::AsFd;
        let Some(record) = self.instances.get(&seq).map(|i| i.record.clone()) else { return };
        let directory = self.config.layout.container(&record.id);
        for (stream, name) in [(1, "stdout"), (2, "stderr")] {
            let key = crate::wire::hold_key(seq.0, stream);
            log::debug!("instance {}: taking up stream {stream}", seq.0);
            // The record may not say so yet: the supervisor before was killed between asking init and writing it.
            let held = self.link.fetch(key).map(|(_, slot)| slot).or_else(|_| {
                let keeper = instance::open_fifo(&directory.join(name), instance::End::Keeper);
                keeper
                    .map_err(|e| e.to_string())
                    .and_then(|keeper| self.link.hold(key, keeper.as_fd()).map_err(|e| e.to_string()))
            });
            match held {
                Ok(slot) => self.set_slot(seq, stream, slot),
                Err(error) => log::debug!("instance {}: its {name} is not held: {error}", seq.0),
            }
        }
        if let Some(record) = self.instances.get(&seq).map(|i| &i.record)
            && let Err(error) = instance::save(&directory, record)
        {
            log::error!("{error}");
        }
    }
}
