//! Every bound on what an image may make the worker do. One place, so that `docs/` and error messages agree.

/// A manifest or image configuration document in bytes (registries refuse manifests above 4 MiB).
pub const MAX_DOCUMENT: u64 = 4 << 20;
/// Members of an image archive (layers, documents, directories).
pub const MAX_MEMBERS: usize = 16_384;
/// Manifests an index may lead to, nested indexes included.
pub const MAX_MANIFESTS: usize = 1024;
/// Layers of one image: what fits with all its options into the one page mount(2) takes (docker stops at 127).
pub const MAX_LAYERS: usize = 128;
/// Entries of one layer.
pub const MAX_ENTRIES: u64 = 2_000_000;
/// Apparent size in bytes of all files of one layer, holes included.
pub const MAX_UNPACKED: u64 = 64 << 30;
/// Bytes of one compressed stream's output that are never counted as a bomb.
pub const RATIO_FREE: u64 = 256 << 20;
/// Beyond [`RATIO_FREE`], output bytes per input byte.
pub const MAX_RATIO: u64 = 400;
/// Window of a zstd frame in bytes: the worker keeps one window in memory.
pub const MAX_ZSTD_WINDOW: u64 = 8 << 20;
/// A path or link target inside a layer in bytes (`PATH_MAX`).
pub const MAX_PATH: usize = 4096;
/// One component of a path in bytes (`NAME_MAX`).
pub const MAX_NAME: usize = 255;
/// Directories a path may be nested in.
pub const MAX_DEPTH: usize = 256;
/// The extended (PAX) header of one entry in bytes.
pub const MAX_PAX: u64 = 1 << 20;
/// Data regions of one sparse file.
pub const MAX_SPARSE_REGIONS: usize = 65_536;
/// Symbolic links followed while one parent path is resolved (Linux: 40).
pub const MAX_SYMLINKS: usize = 40;
/// Opaque directories of one layer.
pub const MAX_OPAQUE: usize = 100_000;
