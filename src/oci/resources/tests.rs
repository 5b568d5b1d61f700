//! The arithmetic of requests and limits.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::needless_pass_by_value)]

use serde_json::{Value, json};

use super::super::fixture::Fixture;
use super::{CgroupVersion, PodResources, pod_resources, weight};
use crate::manifest::{QosClass, qos_class, v1};

fn pod(apps: Value, init: Value) -> v1::Pod {
    let containers = |list: Value| -> Vec<v1::Container> {
        list.as_array().unwrap().iter().map(|r| crate::json::from_value(json!({ "resources": r })).unwrap()).collect()
    };
    let mut pod = v1::Pod::default();
    pod.spec.containers = containers(apps);
    pod.spec.init_containers = containers(init);
    pod
}

fn fixture(resources: Value) -> Fixture {
    Fixture::new(json!({ "command": ["/app"], "resources": resources }), &json!({}))
}

#[test]
fn the_class_looks_at_cpu_and_memory_of_all_containers() {
    let both = || json!({ "limits": { "cpu": "1", "memory": "1Gi" } });
    let with_requests =
        json!({ "limits": { "cpu": "1", "memory": "1Gi" }, "requests": { "cpu": "1", "memory": "1Gi" } });
    for (apps, init, class) in [
        (json!([{}]), json!([]), QosClass::BestEffort),
        (json!([{ "limits": { "cpu": "0" } }]), json!([]), QosClass::BestEffort),
        (json!([{ "limits": { "ephemeral-storage": "1Gi" } }]), json!([]), QosClass::BestEffort),
        (json!([both()]), json!([]), QosClass::Guaranteed),
        (json!([with_requests]), json!([both()]), QosClass::Guaranteed),
        (json!([both(), {}]), json!([]), QosClass::Burstable),
        (json!([both()]), json!([{}]), QosClass::Burstable),
        (json!([{ "limits": { "memory": "1Gi" } }]), json!([]), QosClass::Burstable),
        (
            json!([{ "limits": { "cpu": "1", "memory": "1Gi" }, "requests": { "cpu": "500m" } }]),
            json!([]),
            QosClass::Burstable,
        ),
    ] {
        assert_eq!(qos_class(&pod(apps.clone(), init)), class, "{apps}");
    }
}

#[test]
fn shares_become_weight_linearly() {
    for (shares, expected) in [(2, 1), (102, 4), (1024, 39), (262_144, 10_000), (999_999, 10_000), (0, 1)] {
        assert_eq!(weight(shares), expected, "{shares}");
    }
}

#[test]
fn a_pods_cgroup_sums_its_apps_or_takes_the_largest_init_container() {
    let app = |cpu: &str| json!({ "limits": { "cpu": cpu, "memory": "64Mi" } });
    let large = json!([{ "limits": { "cpu": "2", "memory": "32Mi" } }]);
    assert_eq!(
        pod_resources(&pod(json!([app("500m"), app("500m")]), large), 4096, &[]),
        PodResources {
            cpu_shares: 2048,
            cpu_weight: weight(2048),
            cpu_quota_us: Some(200_000),
            cpu_period_us: 100_000,
            memory_max: Some(128 << 20),
            pids_max: Some(4096),
            huge_pages: Vec::new(),
        }
    );
}

#[test]
fn a_burstable_pod_is_capped_only_where_every_container_is() {
    let made = pod_resources(
        &pod(json!([{ "limits": { "cpu": "1" }, "requests": { "cpu": "100m" } }, {}]), json!([])),
        0,
        &[],
    );
    assert_eq!((made.cpu_shares, made.cpu_weight), (102, 4));
    assert_eq!((made.cpu_quota_us, made.memory_max, made.pids_max), (None, None, None));
    let made = pod_resources(&pod(json!([{ "limits": { "memory": "1Mi" } }]), json!([])), 0, &[]);
    assert_eq!((made.cpu_shares, made.cpu_quota_us, made.memory_max), (2, None, Some(1 << 20)));
}

#[test]
fn a_best_effort_pod_has_the_smallest_share_and_no_cap_but_processes() {
    let made = pod_resources(&pod(json!([{}]), json!([])), 100, &[]);
    assert_eq!((made.cpu_shares, made.cpu_weight, made.cpu_quota_us, made.memory_max), (2, 1, None, None));
    assert_eq!(made.pids_max, Some(100));
}

#[test]
fn a_containers_cgroup_has_shares_quota_and_memory() {
    let resources = |json: Value| fixture(json).json()["linux"]["resources"].take();
    let made = resources(json!({ "limits": { "cpu": "250m", "memory": "100M" } }));
    assert_eq!(made["cpu"], json!({ "shares": 256, "quota": 25_000, "period": 100_000 }));
    assert_eq!(made["memory"], json!({ "limit": 100_000_000 }));
    assert!(made.get("pids").is_none());
    let made = resources(json!({ "limits": { "cpu": "1m" } }));
    assert_eq!(made["cpu"], json!({ "shares": 2, "quota": 1000, "period": 100_000 }), "at least 1 ms");
    let made = resources(json!({}));
    assert_eq!((made["cpu"].clone(), made.get("memory")), (json!({ "shares": 2 }), None));
    let made = resources(json!({ "limits": { "memory": "128m" } }));
    assert_eq!(made["memory"]["limit"], 1, "whole bytes, rounded up");
}

#[test]
fn swap_is_off_where_it_is_accounted() {
    let mut fixture = fixture(json!({ "limits": { "memory": "1Mi" } }));
    let resources = |fixture: &Fixture| fixture.json()["linux"]["resources"].take();
    assert_eq!(resources(&fixture)["unified"], json!({ "memory.oom.group": "1", "memory.swap.max": "0" }));
    fixture.node.swap_accounting = false;
    assert_eq!(resources(&fixture)["unified"], json!({ "memory.oom.group": "1" }));
    fixture.node.cgroups = CgroupVersion::V1;
    assert!(resources(&fixture).get("unified").is_none());
    assert_eq!(resources(&fixture)["memory"], json!({ "limit": 1 << 20 }));
    fixture.node.swap_accounting = true;
    assert_eq!(resources(&fixture)["memory"], json!({ "limit": 1 << 20, "swap": 1 << 20 }));
}

#[test]
fn oom_score_adj_follows_the_class_and_the_memory_request() {
    let score = |fixture: &Fixture| fixture.json()["process"]["oomScoreAdj"].as_i64().unwrap();
    assert_eq!(score(&fixture(json!({}))), 1000);
    assert_eq!(score(&fixture(json!({ "limits": { "cpu": "1", "memory": "1Mi" } }))), -997);
    // The node has 1 GiB.
    assert_eq!(score(&fixture(json!({ "requests": { "memory": "256Mi" } }))), 750);
    assert_eq!(score(&fixture(json!({ "requests": { "memory": "4Gi" } }))), 3);
    assert_eq!(score(&fixture(json!({ "requests": { "cpu": "1" } }))), 999);
    let mut critical = fixture(json!({}));
    "system-node-critical".clone_into(&mut critical.pod.spec.priority_class_name);
    assert_eq!(score(&critical), -997);
    let mut no_memory = fixture(json!({ "requests": { "memory": "1Gi" } }));
    no_memory.node.memory_bytes = 0;
    assert_eq!(score(&no_memory), 999);
}

#[test]
fn oom_score_adj_that_cannot_be_lowered_is_clamped_with_a_warning() {
    let mut guaranteed = fixture(json!({ "limits": { "cpu": "1", "memory": "1Mi" } }));
    guaranteed.node.may_lower_oom_score = false;
    guaranteed.node.oom_score_adj = 200;
    let bundle = guaranteed.bundle().unwrap();
    assert_eq!(bundle.spec.process().as_ref().unwrap().oom_score_adj(), Some(200));
    assert_eq!(bundle.warnings.len(), 1);
    guaranteed.app().resources = v1::ResourceRequirements::default();
    assert!(guaranteed.bundle().unwrap().warnings.is_empty(), "raising is always allowed");
}

#[test]
fn huge_pages_are_limited_where_the_cgroups_can_and_else_a_warning_says_so() {
    let mut fixture = fixture(json!({ "limits": { "hugepages-2Mi": "4Mi", "memory": "1Mi" } }));
    fixture.node.page_sizes = vec![2048, 1 << 20];
    let limits = json!([{ "pageSize": "2MB", "limit": 4 << 20 }, { "pageSize": "1GB", "limit": 0 }]);
    assert_eq!(fixture.json()["linux"]["resources"]["hugepageLimits"], limits);
    assert_eq!(fixture.bundle().unwrap().warnings, Vec::<String>::new());

    fixture.node.limits_huge_pages = false;
    assert!(fixture.json()["linux"]["resources"].get("hugepageLimits").is_none());
    let warnings = fixture.bundle().unwrap().warnings;
    assert_eq!(warnings, ["container app: hugepages-2Mi is not limited: the node has no hugetlb cgroup"]);

    fixture.node.page_sizes = vec![64];
    let (reason, message) = fixture.refusal();
    assert_eq!(reason, "CreateContainerConfigError");
    assert!(message.contains("hugepages-2Mi: 4Mi") && message.contains("pages of 64Ki only"), "{message}");
}
