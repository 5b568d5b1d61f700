//! A pod's containers one after the other: which may run now, and how all of them end. The stages Up and Stopping of
//! [`super::lifecycle`].

use super::container::{Container, Kind, State};
use super::eviction;
use super::lifecycle::{Flow, Pod, Stage};
use super::status;
use super::termination::Order;
use super::turn::Turn;

impl Pod {
    /// Init containers one at a time in order, then all app containers; or the end of the pod.
    pub(super) fn run_containers(&mut self, turn: &mut Turn<'_>) -> Flow {
        if self.restarts_all() {
            return self.restart_all(turn);
        }
        let ended = |c: &Container| matches!(c.state, State::Ended) && !c.restart;
        let init_failed = self.inits().any(|c| c.kind == Kind::Init && ended(c) && !c.succeeded());
        if init_failed || self.apps().all(ended) {
            self.finish(None, turn);
            return self.enter(Stage::Stopping);
        }
        let mut initialized = self.initialized;
        self.with_containers(turn, |containers, scope, turn| {
            // Nothing from here on may be started now.
            let mut held = false;
            let mut claims: Vec<_> = containers.iter().flat_map(Container::claims).collect();
            for container in containers.iter_mut() {
                container.look_after_devices(scope, turn);
                let waited = container.claims().next().is_none();
                let advance = |container: &mut Container, may_start: bool, turn: &mut Turn<'_>| {
                    let may_start = may_start && container.take_devices(&claims, scope, turn);
                    container.advance(may_start, scope, turn);
                };
                match container.kind {
                    Kind::Init if container.succeeded() => container.restart = false,
                    Kind::Init if held => {}
                    Kind::Init => {
                        advance(container, true, turn);
                        held = true;
                    }
                    Kind::Sidecar => {
                        advance(container, !held, turn);
                        held |= !initialized && !container.is_started();
                    }
                    Kind::App => {
                        initialized |= !held;
                        advance(container, !held, turn);
                    }
                }
                held |= container.holds_the_next(scope);
                if waited {
                    claims.extend(container.claims());
                }
            }
            let starting = containers.iter().any(Container::is_starting);
            for container in containers {
                container.sweep(starting, turn);
            }
        });
        self.initialized = initialized;
        Flow::Wait
    }

    /// Ends all containers and begins again with the first, in the same sandbox. No backoff: what counted it is gone.
    fn restart_all(&mut self, turn: &mut Turn<'_>) -> Flow {
        if !self.end_containers(Some(0), turn) {
            return Flow::Wait;
        }
        for container in &mut self.containers {
            turn.durable.again(&self.uid, &container.name);
            container.reset(false);
        }
        self.initialized = false;
        Flow::Again
    }

    pub(super) fn stop_containers(&mut self, turn: &mut Turn<'_>) -> Flow {
        let evicted = self.eviction.as_ref().map(|_| eviction::GRACE_S);
        let grace = evicted.into_iter().chain(self.grace_override).min();
        if !self.end_containers(grace, turn) {
            return Flow::Wait;
        }
        if let Some(before) = self.outcome.take() {
            // What was still running when the pod was done has an end now.
            let after = status::with_ends(&before, self, turn.now, turn.settings);
            if after != before {
                turn.durable.complete(&self.uid, self.first_seen, after.clone());
            }
            self.outcome = Some(after);
        } else if self.desired && !self.ending && self.eviction.is_some() {
            self.finish(self.eviction.clone(), turn);
        }
        self.tear_down()
    }

    /// Takes all containers nearer to their ends; true when nothing is left of any.
    fn end_containers(&mut self, grace: Option<i64>, turn: &mut Turn<'_>) -> bool {
        self.with_containers(turn, |containers, scope, turn| {
            for at in 0..containers.len() {
                let lives = |c: &Container| c.kind != Kind::Init && c.live().is_some();
                let served = containers.iter().skip(at.saturating_add(1)).any(lives);
                let Some(container) = containers.get_mut(at) else { continue };
                let order = Order::graceful(grace).in_turn(container.kind != Kind::Sidecar || !served);
                container.restart = false;
                container.drive_stop(order, scope, turn);
                container.sweep(false, turn);
            }
        });
        self.containers.iter().all(|c| c.live().is_none() && c.leftovers.is_empty())
    }
}
