//! The Pod API: objects, their field table, defaults, validation, identity.

mod aggregate;
pub mod annotations;
pub mod applied;
mod defaults;
pub mod desired;
#[cfg(test)]
mod desired_tests;
mod error;
mod fields;
pub mod identity;
mod limits;
mod load;
mod loaded;
mod names;
mod qos;
mod quote;
mod service;
mod signed;
pub mod source;
#[cfg(test)]
mod tests;
pub mod v1;
mod validate;
mod verdict;
pub mod watch;
mod workload;

pub use crate::document::{MAX_FILE_BYTES, Quantity, QuantityError, base64};
pub use aggregate::{Amounts, pod_amounts};
pub use error::{ErrorKind, ValidationError};
pub use fields::fields_reference;
pub use load::{Rules, load};
pub use loaded::{Loaded, Object, Warning};
pub use qos::{QosClass, qos_class};
pub use quote::quoted;
pub use verdict::{DocumentVerdict, PodSecurity, VerdictError, validate_bytes, validate_files};
