//! (stub)

pub mod init_link;
