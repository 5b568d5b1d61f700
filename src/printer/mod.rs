//! v1 objects as kubectl prints them: [`columns::PodRow`] with its STATUS word, ages, aligned columns. Pure; for everything that shows pods
//! to people, the commands and the serial console.

pub(crate) mod age;
pub(crate) mod columns;
pub(crate) mod event;
pub(crate) mod tabs;
pub(crate) mod view;
