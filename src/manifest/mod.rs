//! The Pod API: objects, their field table, defaults, validation, identity.

pub mod v1;
