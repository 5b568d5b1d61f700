//! Supervisors and image workers killed in the middle of an import.

use std::fs;

use rustix::process::Signal;

use crate::gateway::manifest::pod;
use crate::gateway::{Gateway, sample_images};
use crate::node;

const WAIT: &str = "trap 'exit 0' TERM; sleep 1000000 & wait";

#[test]
fn an_import_is_done_in_the_end_although_supervisors_and_workers_die_in_its_middle() {
    let mut gateway = Gateway::without_images("imagePreloadPath: [BASE/preload]\n");
    let preload = gateway.path("preload");
    fs::create_dir(&preload).unwrap();
    // The wanted one comes last.
    for (from, to) in
        [("mosquitto.tar", "1-mosquitto.tar"), ("redis.tar", "2-redis.tar"), ("busybox.tar", "3-busybox.tar")]
    {
        fs::hard_link(sample_images().join(from), preload.join(to))
            .or_else(|_| fs::copy(sample_images().join(from), preload.join(to)).map(drop))
            .unwrap();
    }
    gateway.run(true);
    gateway.apply(&pod("waits", WAIT));
    let staging = [gateway.path("data/images/.staging"), gateway.path("data/layers/.staging")];
    let mut last = 0;
    let mut orphan = None;
    for _ in 0..4 {
        let supervisor = node::answering(&gateway, last);
        // Whoever answers has ended the helpers of the one before: this one worked on what is now begun again.
        if let Some((pid, start)) = orphan {
            let now =
                gatepost::sys::process::stat(pid).ok().filter(|stat| stat.start_time == start && stat.state != 'Z');
            assert!(now.is_none(), "the image worker {pid} of a dead supervisor works on");
        }
        let worker = in_the_middle(supervisor);
        orphan = gatepost::sys::process::stat(worker).ok().map(|stat| (worker, stat.start_time));
        assert!(orphan.is_some(), "the worker ended by itself");
        assert!(node::send(supervisor, Signal::KILL));
        last = supervisor;
    }
    let supervisor = node::answering(&gateway, last);
    let worker = in_the_middle(supervisor);
    assert!(node::send(worker, Signal::KILL));
    gateway.said("imagePreloadPath is not imported");
    // The pod asks again after its backoff.
    gateway.ready("waits");
    assert!(staging.iter().all(|dir| !dir.exists()), "something is left of an interrupted import");
    let images = gateway.ok(&["image", "ls"]);
    for name in ["busybox", "mosquitto", "redis"] {
        assert!(images.contains(name), "no {name} in {images}");
    }
}

/// Waits for a worker that has something in staging.
fn in_the_middle(supervisor: u32) -> u32 {
    node::eventually("an import", || {
        node::children_of(supervisor).into_iter().find(|pid| {
            let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
            node::command(*pid) == "gatepost image-worker"
                && open
                    .flat_map(|entry| fs::read_link(entry.path()))
                    .any(|at| at.to_string_lossy().contains(".staging"))
        })
    })
}
