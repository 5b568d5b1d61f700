//! What the runtime really does: found once a boot by probe containers, after the first pods were started.

use super::Supervisor;
use super::act::Task;
use super::helpers::Outcome;
use super::outcome::result;
use crate::runtime::features::{Features, FeaturesRequest};
use crate::runtime::protocol::VERSION;

impl Supervisor {
    /// Begins to find out, unless an earlier supervisor has.
    pub(super) fn know_features(&mut self) {
        self.features = Features::known(&self.config.layout, &self.runtime);
        if self.features.is_none() {
            self.starts.queue_features();
        }
    }

    pub(super) fn find_features(&mut self) {
        let request = FeaturesRequest {
            version: VERSION,
            layout: self.config.layout.clone(),
            runtime: self.runtime.clone(),
            cgroup_root: self.config.cgroup_root.clone(),
        };
        self.call_role("features", Task::FindFeatures, &request);
    }

    pub(super) fn features_found(&mut self, outcome: Outcome) {
        match result::<Features>(outcome, "ProbeFailed") {
            Ok(features) => {
                let lacking: Vec<&str> =
                    features.works.iter().filter(|(_, works)| !**works).map(|(name, _)| name.as_str()).collect();
                let lacking = if lacking.is_empty() { "nothing".to_owned() } else { lacking.join(", ") };
                log::info!("probe of {}: does not work here: {lacking}", features.of);
                for refusal in &features.refusals {
                    log::debug!("probe: {refusal}");
                }
                self.features = Some(features);
            }
            Err(failure) => log::warn!("what the runtime can do is not known: {}", failure.message),
        }
    }
}
