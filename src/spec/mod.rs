//! The documents of the OCI specifications, as far as they are used here: [`image`] (read and written) and [`runtime`]
//! (written; of it only a [`runtime::LinuxSeccomp`] is read). Names are the specifications' own.

pub mod image;
pub mod runtime;

/// Structs whose fields are read by a function of their name and set by a `set_` one, which can be chained. A field marked `copy`
/// is read by value.
macro_rules! documents {
    ($($(#[$meta:meta])* $name:ident { $($(#[$field:meta])* $get:ident / $set:ident: $kind:ident $type:ty,)* })*) => {$(
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        $(#[$meta])*
        pub struct $name {
            $($(#[$field])* $get: $type,)*
        }

        #[allow(missing_docs)]
        impl $name {
            $(documents!(@get $kind $get $type);)*
            $(
                pub fn $set(&mut self, value: $type) -> &mut Self {
                    self.$get = value;
                    self
                }
            )*
        }
    )*};
    (@get copy $get:ident $type:ty) => {
        #[must_use]
        pub fn $get(&self) -> $type {
            self.$get
        }
    };
    (@get by $get:ident $type:ty) => {
        #[must_use]
        pub fn $get(&self) -> &$type {
            &self.$get
        }
    };
}
pub(crate) use documents;
