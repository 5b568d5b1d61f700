//! The Pod API: objects, their field table, defaults, validation, identity.

pub mod annotations;
pub mod base64;
mod defaults;
mod error;
mod expand;
mod fields;
pub mod identity;
mod names;
mod qos;
mod quantity;
pub mod v1;
mod validate;

pub use error::{ErrorKind, ValidationError};
pub use expand::expand;
pub use fields::fields_reference;
pub use qos::{QosClass, qos_class};
pub use quantity::{Quantity, QuantityError};
