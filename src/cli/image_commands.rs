//! The commands of `gatepost image`, all done by `gatepost-worker`.

use super::command::{Command, Flag, Words};
use super::commands::{switch, value};
use super::worker::hand_over;

const DATA_DIR: Flag = Flag {
    long: "data-dir",
    short: None,
    value: Some("DIR"),
    help: "Directory of the image store's data (default: that of the running gatepost, else /var/lib/gatepost)",
    values: &[],
};

const JSON: Flag =
    Flag { long: "output", short: Some('o'), value: Some("FORMAT"), help: "json: for programs", values: &["json"] };

/// `gatepost image ls`.
pub(super) const IMAGE_LS: Command = Command {
    name: "image ls",
    args: "",
    summary: "List the images in the store",
    about: "SIZE is that of configuration and layers as they come; SHARED and OWN are what they take on the disk, blobs and\n\
            unpacked layers: what other images have, too, and what would come free with this one.",
    flags: &[JSON, switch("no-headers", None, "No header line"), DATA_DIR],
    examples: &[],
    words: Words::None,
    online: true,
    action: hand_over,
};

/// `gatepost image import`.
pub(super) const IMAGE_IMPORT: Command = Command {
    name: "image import",
    args: "FILE...",
    summary: "Import images from docker-archives and OCI archives or layouts",
    about: "Plain, gzip or zstd. Every digest is checked. Pods that wait for an image start at once.",
    flags: &[value("name", None, "IMAGE", "Name to give to the image instead of its own; for one file"), DATA_DIR],
    examples: &[
        ("gatepost image import web.tar.zst", "from a file"),
        ("gatepost image import --name web:1 layout/", "from an OCI layout, under another name"),
    ],
    words: Words::Files,
    online: true,
    action: hand_over,
};

/// `gatepost image save`.
pub(super) const IMAGE_SAVE: Command = Command {
    name: "image save",
    args: "IMAGE",
    summary: "Write an image as an OCI archive",
    about: "Every blob is checked. Not where layers are kept unpacked only (setting `discardUnpackedLayers`).",
    flags: &[value("output", Some('o'), "FILE", "Where to; - is standard output"), DATA_DIR],
    examples: &[("gatepost image save web:1 -o web.tar", "to take it to another node")],
    words: Words::None,
    online: true,
    action: hand_over,
};

/// `gatepost image rm`.
pub(super) const IMAGE_RM: Command = Command {
    name: "image rm",
    args: "IMAGE...",
    summary: "Remove images from the store",
    about: "An image goes with its last name. One that a container uses stays.",
    flags: &[DATA_DIR],
    examples: &[("gatepost image rm docker.io/library/web:1", "by name")],
    words: Words::None,
    online: true,
    action: hand_over,
};

/// `gatepost image prune`.
pub(super) const IMAGE_PRUNE: Command = Command {
    name: "image prune",
    args: "",
    summary: "Remove images without a name, and what imports and pulls have left",
    about: "What a manifest wants or a container uses stays, so gatepost must be running.",
    flags: &[switch("all", Some('a'), "Remove every image that no manifest wants"), DATA_DIR],
    examples: &[("gatepost image prune -a", "make room")],
    words: Words::None,
    online: true,
    action: hand_over,
};

/// `gatepost image df`.
pub(super) const IMAGE_DF: Command = Command {
    name: "image df",
    args: "",
    summary: "Show what images take on the disk",
    about: "",
    flags: &[JSON, DATA_DIR],
    examples: &[],
    words: Words::None,
    online: true,
    action: hand_over,
};

/// `gatepost image verify`.
pub(super) const IMAGE_VERIFY: Command = Command {
    name: "image verify",
    args: "[FILE...]",
    summary: "Read every blob of the store again and compare its digest",
    about: "Exit status 1 when something is damaged or missing. Files are archives to repair from.",
    flags: &[
        switch(
            "repair",
            None,
            "Bring what is damaged from the archives named and imagePreloadPath, else pull it again",
        ),
        DATA_DIR,
    ],
    examples: &[
        ("gatepost image verify", "is the flash still good?"),
        ("gatepost image verify --repair /media/stick/web.tar", "from an archive"),
    ],
    words: Words::Files,
    online: true,
    action: hand_over,
};
