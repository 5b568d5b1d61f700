//! [`COMMANDS`]: every command a person types.

use super::command::{Command, Flag, Words};
use super::image_commands::{IMAGE_DF, IMAGE_IMPORT, IMAGE_LS, IMAGE_PRUNE, IMAGE_RM, IMAGE_SAVE, IMAGE_VERIFY};
use super::{
    boot_chart, completion, console, describe, exec, gateway, get, last_boot, logs, order, output, run, top, version,
    worker,
};
use crate::policy::LEVELS;

const NAMESPACE: Flag = Flag {
    long: "namespace",
    short: Some('n'),
    value: Some("NS"),
    help: "Namespace of the pods (default: default)",
    values: &[],
};
const CONTAINER: Flag = Flag {
    long: "container",
    short: Some('c'),
    value: Some("NAME"),
    help: "Only this container of the pod",
    values: &[],
};

/// A flag without a value.
pub(super) const fn switch(long: &'static str, short: Option<char>, help: &'static str) -> Flag {
    Flag { long, short, value: None, help, values: &[] }
}

/// A flag with a free value.
pub(super) const fn value(long: &'static str, short: Option<char>, name: &'static str, help: &'static str) -> Flag {
    Flag { long, short, value: Some(name), help, values: &[] }
}

/// All commands, in the order of the help. Those of one group stand together.
pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "run",
        args: "",
        summary: "Run the pods of this node, next to the host's own init",
        about: "Stays in the foreground. A TERM signal ends it and leaves the containers running, unless --stop-pods is given;\n\
                started again, it takes them over.",
        flags: &[
            value("config", Some('f'), "FILE", "Configuration file (default /etc/gatepost/config.yaml)"),
            value("set", None, "KEY=VALUE", "Override a setting of the file; may be repeated"),
            switch("stop-pods", None, "Stop all pods when told to end"),
        ],
        examples: &[
            ("gatepost run --config gatepost.yaml", "run with these settings"),
            ("gatepost run --set runtime=crun", "use another OCI runtime"),
        ],
        words: Words::None,
        online: false,
        action: run::run,
    },
    Command {
        name: "get",
        args: "pods|services|events|manifests|nodes [NAME]...",
        summary: "List pods, Services, events, manifests, or this node",
        about: "Pods are named in full or without the node's name at the end. Manifests that are refused are told as warnings.\n\
                With -w on a terminal the table redraws itself in place; elsewhere each change is a line.",
        flags: &[
            Flag {
                long: "output",
                short: Some('o'),
                value: Some("FORMAT"),
                help: "wide: more columns; json, yaml: v1 objects; name: names only",
                values: output::FORMATS,
            },
            NAMESPACE,
            switch("all-namespaces", Some('A'), "All namespaces"),
            value(
                "selector",
                Some('l'),
                "SELECTOR",
                "Only pods with these labels: a=b,c!=d,e in (x,y),f notin (z),g,!h",
            ),
            switch("watch", Some('w'), "Show changes as they happen, until interrupted"),
            switch("show-labels", None, "Labels as the last column"),
            switch("no-headers", None, "No header line"),
        ],
        examples: &[
            ("gatepost get pods", "the pods of namespace default"),
            ("gatepost get pods -A -o wide", "all pods with addresses"),
            ("gatepost get pod web -o yaml", "one pod as a v1 object"),
            ("gatepost get pods -l 'app in (web,db)' -w", "watch some"),
            ("gatepost get services", "where the names of Services lead now"),
            ("gatepost get events -A", "what happened, oldest first"),
            ("gatepost get manifests -o wide", "what comes from which file, and is it in effect?"),
        ],
        words: Words::OneOf(&["pods", "pod", "services", "events", "manifests", "nodes"]),
        online: true,
        action: get::run,
    },
    Command {
        name: "describe",
        args: "pod NAME...|node",
        summary: "Show everything about a pod, with its events, or about this node",
        about: "",
        flags: &[NAMESPACE],
        examples: &[
            ("gatepost describe pod web", "why does it not run?"),
            ("gatepost describe node", "what can the runtime and the kernel do?"),
        ],
        words: Words::OneOf(&["pod", "node"]),
        online: true,
        action: describe::run,
    },
    Command {
        name: "logs",
        args: "POD",
        summary: "Print the log of a container",
        about: "Without -c the pod's first container is meant.",
        flags: &[
            NAMESPACE,
            CONTAINER,
            switch("follow", Some('f'), "Go on until the container ends"),
            switch("previous", Some('p'), "The instance before the current one"),
            value("tail", None, "LINES", "Only the last lines"),
            value("since", None, "DURATION", "Only what is newer than this: 10s, 5m, 1h30m"),
            switch("timestamps", None, "Begin each line with its time"),
        ],
        examples: &[
            ("gatepost logs web --tail 20 -f", "the last lines, then new ones"),
            ("gatepost logs web -c app --previous", "what it said before it crashed"),
        ],
        words: Words::Pods,
        online: true,
        action: logs::run,
    },
    Command {
        name: "exec",
        args: "POD -- COMMAND [ARGUMENT]...",
        summary: "Run a command in a running container",
        about: "The exit status is the command's. Without -i its standard input is empty. Without -c the pod's first container is meant.",
        flags: &[
            NAMESPACE,
            CONTAINER,
            switch("stdin", Some('i'), "Pass standard input on"),
            switch("tty", Some('t'), "Give it a terminal; standard input must be one"),
        ],
        examples: &[
            ("gatepost exec -it web -- sh", "a shell"),
            ("gatepost exec web -c app -- cat /etc/hosts", "one command"),
        ],
        words: Words::Pods,
        online: true,
        action: exec::run,
    },
    Command {
        name: "top",
        args: "pods|node [NAME]...",
        summary: "Show what pods or the node use of CPU and memory",
        about: "Measured over half a second, from the kernel's counters. Memory is the working set: without files that were not used lately.\n\
                With -w on a terminal the table redraws itself in place every two seconds.",
        flags: &[
            NAMESPACE,
            switch("all-namespaces", Some('A'), "All namespaces"),
            value("selector", Some('l'), "SELECTOR", "Only pods with these labels, as for get"),
            switch("containers", None, "A line for each container"),
            Flag {
                long: "sort-by",
                short: None,
                value: Some("ORDER"),
                help: "cpu or memory: who uses the most comes first",
                values: top::SORTS,
            },
            switch("watch", Some('w'), "Go on until interrupted"),
            switch("no-headers", None, "No header line"),
        ],
        examples: &[
            ("gatepost top pods -A --sort-by memory", "who takes the memory?"),
            ("gatepost top pod web --containers", "one pod"),
            ("gatepost top node", "the whole machine"),
        ],
        words: Words::OneOf(&["pods", "pod", "node"]),
        online: true,
        action: top::run,
    },
    APPLY,
    ROLLBACK,
    DELETE,
    Command {
        name: "restart",
        args: "pod NAME...",
        summary: "Restart the containers of a pod and forget their backoff",
        about: "",
        flags: &[NAMESPACE, CONTAINER],
        examples: &[("gatepost restart pod web -c app", "one container")],
        words: Words::OneOf(&["pod"]),
        online: true,
        action: order::restart,
    },
    Command {
        name: "reload",
        args: "",
        summary: "Read the manifests again now",
        about: "Changes are noticed without it; this is for file systems that do not tell. It also accepts that a manifest directory \
                now lies on another device: what is not there any more then stops.",
        flags: &[],
        examples: &[],
        words: Words::None,
        online: true,
        action: order::reload,
    },
    Command {
        name: "console",
        args: "[TTY]",
        summary: "Show what happens to the pods, line by line, and take a few keys",
        about: "What a gateway shows on its serial console, where init starts it. By hand it takes the terminal it is started on; q ends it.\n\
                Keys: s status, e events, l logs, h help; ! a shell, if the configuration allows one; on a gateway r reboot and p poweroff.",
        flags: &[],
        examples: &[("gatepost console", "on this terminal"), ("gatepost console ttyS1", "on another one")],
        words: Words::None,
        online: true,
        action: console::run,
    },
    Command {
        name: "boot-chart",
        args: "",
        summary: "Draw the start of this node: boot stages, imports, each container",
        about: "An SVG picture on standard output. What is recorded of a start: its first ten minutes, at most 256 parts.",
        flags: &[
            value("output", Some('o'), "FILE", "Write the picture here, and say how long the first container took"),
            switch("json", None, "The figures and the parts as JSON instead of a picture"),
        ],
        examples: &[("gatepost boot-chart -o boot.svg", "what took so long?")],
        words: Words::None,
        online: true,
        action: boot_chart::run,
    },
    VALIDATE,
    IMAGE_LS,
    IMAGE_IMPORT,
    #[cfg(feature = "complete")]
    Command {
        name: "image build-flash",
        args: "ARCHIVE DIR",
        summary: "Make files of an archive's images that a node runs from flash",
        about: "A file system for each layer, and a description for each image, for imagePreloadPath: nothing of them is imported or \
                copied. Images made into one directory share layers. For root, on the machine where a node's flash is made; mksquashfs or \
                mkfs.erofs must be installed.",
        flags: &[
            value("name", None, "IMAGE", "Name to give to the image instead of its own"),
            Flag {
                long: "format",
                short: None,
                value: Some("FORMAT"),
                help: "squashfs (default), or erofs: larger, and less memory for each layer that is mounted",
                values: &["squashfs", "erofs"],
            },
        ],
        examples: &[("gatepost image build-flash web.tar flash/images/", "beside the archives of a node")],
        words: Words::Files,
        online: false,
        action: super::image::build_flash,
    },
    IMAGE_SAVE,
    IMAGE_RM,
    IMAGE_PRUNE,
    IMAGE_DF,
    IMAGE_VERIFY,
    Command {
        name: "last-boot",
        args: "",
        summary: "Show why this machine went down the last time",
        about: "On a gateway, where gatepost is PID 1. Without a report of the shutdown it was a power cut, a reset or a crash.",
        flags: &[Flag {
            long: "output",
            short: Some('o'),
            value: Some("FORMAT"),
            help: "json: for programs",
            values: last_boot::FORMATS,
        }],
        examples: &[("gatepost last-boot", "reason, time, how long the shutdown took, the kernel's last words")],
        words: Words::None,
        online: true,
        action: last_boot::run,
    },
    Command {
        name: "reboot",
        args: "",
        summary: "Reboot this gateway",
        about: "Where gatepost is PID 1. Pods stop in the order of their priority, lowest first. Given again, with a shorter grace.",
        flags: &[value("argument", None, "WORD", "Pass this to the firmware, for example tryboot")],
        examples: &[("gatepost reboot --argument tryboot", "boot the other root once, where the firmware knows it")],
        words: Words::None,
        online: false,
        action: gateway::reboot,
    },
    Command {
        name: "poweroff",
        args: "",
        summary: "Switch this gateway off",
        about: "As reboot.",
        flags: &[],
        examples: &[],
        words: Words::None,
        online: false,
        action: gateway::poweroff,
    },
    Command {
        name: "halt",
        args: "",
        summary: "Stop this gateway with the power on",
        about: "As reboot.",
        flags: &[],
        examples: &[],
        words: Words::None,
        online: false,
        action: gateway::halt,
    },
    Command {
        name: "reexec",
        args: "",
        summary: "Let a new binary take over on this gateway",
        about: "PID 1 and the supervisor become what now lies at /sbin/init. Containers go on, and so do their logs and exit records.",
        flags: &[],
        examples: &[],
        words: Words::None,
        online: false,
        action: gateway::reexec,
    },
    Command {
        name: "version",
        args: "",
        summary: "Show the version of this binary and of the running gatepost",
        about: "",
        flags: &[],
        examples: &[],
        words: Words::None,
        online: true,
        action: version::run,
    },
    Command {
        name: "completion",
        args: "bash|zsh|fish",
        summary: "Print the completion script for a shell",
        about: "",
        flags: &[],
        examples: &[("source <(gatepost completion bash)", "in the running shell")],
        words: Words::OneOf(completion::SHELLS),
        online: false,
        action: completion::run,
    },
];

/// `gatepost validate`.
pub(super) const VALIDATE: Command = Command {
    name: "validate",
    args: "FILE...|-",
    summary: "Check manifests without running them",
    about: "Needs neither root nor a running gatepost. `-` is standard input. Exit status 1 when something would be refused.",
    flags: &[
        switch("strict", None, "Unknown fields and repeated keys are errors"),
        Flag {
            long: "pod-security",
            short: None,
            value: Some("LEVEL"),
            help: "refuse pods that do not meet this Pod Security Standard",
            values: &LEVELS,
        },
        Flag {
            long: "output",
            short: Some('o'),
            value: Some("FORMAT"),
            help: "json: one object a line for each document",
            values: &["json"],
        },
    ],
    examples: &[("gatepost validate --strict *.yaml", "before they go onto a gateway")],
    words: Words::Files,
    online: false,
    action: worker::hand_over,
};

/// `gatepost apply`.
pub(super) const APPLY: Command = Command {
    name: "apply",
    args: "-f FILE",
    summary: "Add objects to this node, or change them, until they are taken back",
    about: "They are checked as this node checks manifests, and go into the last directory of staticPodPath, all or none, on the disk when\n\
            the command ends. What was delivered in the directories before it stays as it is, and is replaced by objects of the same\n\
            kind, namespace and name.",
    flags: &[
        value("filename", Some('f'), "FILE", "A file of manifests, or - for standard input; may be repeated"),
        value("signature", None, "FILE", "The signature of a file, where the node wants one; as often as -f"),
        switch("dry-run", None, "Check, and say what would change"),
    ],
    examples: &[
        ("gatepost apply -f web.yaml", "one file"),
        ("ssh gateway gatepost apply -f - < web.yaml", "from elsewhere"),
    ],
    words: Words::Files,
    online: true,
    action: worker::hand_over,
};

/// `gatepost rollback`.
pub(super) const ROLLBACK: Command = Command {
    name: "rollback",
    args: "",
    summary: "Take the last change by apply or delete -f back",
    about: "Again for the one before; the last ten changes are kept.",
    flags: &[],
    examples: &[],
    words: Words::None,
    online: true,
    action: worker::hand_over,
};

/// `gatepost delete`.
pub(super) const DELETE: Command = Command {
    name: "delete",
    args: "pod NAME...|-f FILE",
    summary: "Stop a pod, discard what it holds, and make it anew from its manifest",
    about: "To get rid of a pod, remove its manifest, or with -f what was applied. A pod whose manifest stays comes back with empty\n\
            volumes and no backoff.",
    flags: &[
        NAMESPACE,
        value("filename", Some('f'), "FILE", "Take the objects of this file out of what was applied; may be repeated"),
        value("grace-period", None, "SECONDS", "Seconds from the stop signal to the kill (default: the pod's own)"),
    ],
    examples: &[
        ("gatepost delete pod web --grace-period 0", "at once"),
        ("gatepost delete -f web.yaml", "it and its pods go"),
    ],
    words: Words::OneOf(&["pod"]),
    online: true,
    action: order::delete,
};
