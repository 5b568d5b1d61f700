//! Eviction: a pod that takes too much is ended for good.

use super::bench::*;
use crate::pod::event::Event;

fn evict() -> Event {
    Event::Evict {
        pod: "web-uid-1".into(),
        message: "Usage of EmptyDir volume \"v\" exceeds the limit \"1Gi\". ".into(),
    }
}

#[test]
fn an_evicted_pod_ends_after_the_least_grace_fails_and_loses_its_volumes() {
    let mut bench = Bench::running(&[always("web")]);
    assert_eq!(words(&bench.tell(evict())), ["signal 15"]);
    assert_eq!(bench.node.deadline().unwrap().0, bench.now + 2_000);
    assert!(bench.tell(evict()).is_empty(), "told again it changes nothing");
    let actions = bench.exit(bench.live("web", "app"), 143);
    assert_eq!(words(&bench.run(actions)), ["remove", "discard web-uid-1"]);
    let status = bench.object("web").status;
    assert_eq!((status.phase.as_str(), status.reason.as_str()), ("Failed", "Evicted"));
    assert_eq!(status.message, "Usage of EmptyDir volume \"v\" exceeds the limit \"1Gi\". ");
    assert!(bench.node.is_evicted("web-uid-1"));
    assert!(bench.reasons().contains(&"Evicted"));
    // It stays so, for a reboot too.
    assert_eq!(bench.node.deadline(), None);
    assert!(bench.node.durable_snapshot().pods["web-uid-1"].completed.is_some());
    let again = bench.tell(Event::Restart { pod: "web-uid-1".into(), container: None });
    assert_eq!(words(&bench.run(again)), ["prepare web-uid-1", "image app", "start app 1"]);
    assert_eq!(bench.object("web").status.reason, "");
    assert!(!bench.node.is_evicted("web-uid-1"));
}

#[test]
fn a_pod_that_is_not_up_is_not_evicted() {
    let mut bench = Bench::running(&[always("web")]);
    bench.desire(&[]);
    bench.tell(evict());
    assert!(!bench.reasons().contains(&"Evicted"));
}
