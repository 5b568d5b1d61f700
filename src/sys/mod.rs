//! Thin named wrappers over Linux; the only place with `unsafe`.

pub(crate) mod inherited;
pub(crate) mod word_mapping;
