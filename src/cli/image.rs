//! stub
use super::failure::{Failure, Outcome};
use super::invocation::Invocation;
pub(super) fn ls(_: &Invocation) -> Outcome { Err(Failure::failed("no image store in this build")) }
pub(super) fn import(_: &Invocation) -> Outcome { Err(Failure::failed("no image store in this build")) }
pub(super) fn rm(_: &Invocation) -> Outcome { Err(Failure::failed("no image store in this build")) }
