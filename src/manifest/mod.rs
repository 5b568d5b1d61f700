//! The Pod API: objects, their field table, defaults, validation, identity.

pub mod annotations;
pub mod base64;
mod defaults;
pub mod desired;
mod error;
mod expand;
mod fields;
pub mod identity;
mod load;
mod names;
mod qos;
mod quantity;
pub mod source;
pub mod v1;
mod validate;
mod verdict;

pub use error::{ErrorKind, ValidationError};
pub use expand::expand;
pub use fields::fields_reference;
pub use load::{Loaded, Object, Warning, load};
pub use qos::{QosClass, qos_class};
pub use quantity::{Quantity, QuantityError};
pub use verdict::{DocumentVerdict, VerdictError, validate_bytes, validate_files};
