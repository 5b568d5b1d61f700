//! Whether an image may run, as the setting `imagePolicy` says. What its keys vouch for is found by those who read the manifests: here
//! digests are compared.

use super::Supervisor;
use super::images::Wanted;
use crate::image::ImageSummary;
use crate::pod::event::Event;
use crate::policy::{Require, Vouched};

impl Supervisor {
    /// What the keys of each rule vouch for, as was just read.
    pub(super) fn vouched_for(&mut self, vouched: Vec<Vouched>) {
        if self.config.image_policy.is_empty() || self.images.vouched.as_ref() == Some(&vouched) {
            return;
        }
        for error in vouched.iter().filter_map(|vouched| vouched.error.as_ref()) {
            log::error!("imagePolicy: {error}");
        }
        self.images.vouched = Some(vouched);
        self.answer_waiting();
        self.inbox.push_back(Event::ImagesChanged);
    }

    /// Whether the name of an image in the manifest is one that the policy takes, or why not.
    pub(super) fn is_named_well(&self, wanted: &Wanted) -> Result<(), String> {
        match self.config.image_rule(&wanted.reference.repository()) {
            Some((_, rule)) if rule.require == Require::Digest && wanted.reference.digest().is_none() => Err(format!(
                "image \"{}\" is not named by its digest, as imagePolicy wants for {:?}: write {}@sha256:...",
                wanted.written,
                rule.pattern,
                wanted.reference.repository()
            )),
            _ => Ok(()),
        }
    }

    /// Whether the policy lets this image run, or why not; `None` as long as that is not known.
    pub(super) fn is_vouched_for(&mut self, wanted: &Wanted, image: &ImageSummary) -> Option<Result<(), String>> {
        let Some((at, rule)) = self.config.image_rule(&wanted.reference.repository()) else { return Some(Ok(())) };
        if rule.require != Require::Nothing
            && let Some(description) = &image.flash
        {
            // Its layers are held against no digest when they are mounted.
            return Some(Err(format!(
                "image \"{}\" runs from flash ({description}), where nothing says that its content is that of its digest, which imagePolicy \
                 wants for {:?}: import its archive instead",
                wanted.written, rule.pattern
            )));
        }
        if rule.require != Require::Signature {
            return Some(Ok(()));
        }
        let vouched = self.images.vouched.as_ref()?.get(at);
        let listed = |digest: &String| vouched.is_some_and(|vouched| vouched.digests.contains(digest));
        if [Some(&image.manifest_digest), image.index_digest.as_ref()].into_iter().flatten().any(listed) {
            return Some(Ok(()));
        }
        let why = vouched.and_then(|vouched| vouched.error.as_ref()).map(|why| format!("; {why}")).unwrap_or_default();
        let message = format!(
            "image \"{}\" ({}) is in no signed list, as imagePolicy wants for {:?}{why}",
            wanted.written, image.manifest_digest, rule.pattern
        );
        // Whoever asks again shall know what is signed by then.
        let now = self.now().boot;
        self.manifests.read_soon(now);
        Some(Err(message))
    }
}
