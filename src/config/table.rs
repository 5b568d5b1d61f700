//! [`CONFIG`]: the field table of the configuration file, and [`reference`], its description for people.

use std::fmt::Write as _;

use crate::document::{Field, Format, Kind, Object, Quantity, carried, duration, quiet};

static DURATION: Format =
    Format { name: "a duration such as 10s or 5m", numbers: true, check: |text| duration(text).map(drop) };

static AMOUNT: Format = Format {
    name: "a quantity such as 100m or 64Mi",
    numbers: true,
    check: |text| match Quantity::parse(text) {
        Ok(amount) if amount.nanos() >= 0 => Ok(()),
        Ok(_) => Err("an amount is not negative".to_owned()),
        Err(error) => Err(error.to_string()),
    },
};

static SIZE: Format = Format {
    name: "a size such as 64Mi",
    numbers: true,
    check: |text| match Quantity::parse(text) {
        Ok(size) if size.nanos() >= 0 => Ok(()),
        Ok(_) => Err("a size is not negative".to_owned()),
        Err(error) => Err(error.to_string()),
    },
};

const fn setting(name: &'static str, kind: Kind, doc: &'static str) -> Field {
    carried(name, kind).doc(doc)
}

const NOT_NEEDED: &str = "not needed; found in kubelet's files";

const SKIP_VERIFY: &str = "`true`: its certificate is not looked at. Default: `false`.";
const CA: &str = "A file with certificate authorities (PEM) beside the node's own.";
const AUTH: &str =
    "A docker `config.json` with credentials. `imagePullSecrets` of pods count before it, for the registry itself.";

static REGISTRY: Object = Object {
    name: "Registry",
    fields: &[
        setting(
            "mirrors",
            Kind::List(&Kind::Object(&ENDPOINT)),
            "What is asked before the registry itself, in this order: the next when one is not there, fails, or does not have the image.",
        ),
        setting("mirrorsOnly", Kind::Bool, "`true`: the registry itself is not asked. Default: `false`."),
        setting(
            "plainHTTP",
            Kind::Bool,
            "`true`: it is asked without TLS. Default: only one on this node (`localhost`) is.",
        ),
        setting("skipVerify", Kind::Bool, SKIP_VERIFY),
        setting("ca", Kind::String, CA),
        setting("auth", Kind::String, AUTH),
    ],
};

static IMAGE_RULE: Object = Object {
    name: "ImageRule",
    fields: &[
        setting(
            "match",
            Kind::String,
            "A registry, or a repository up to a `/`: `docker.io/library`; a `*` at its end stands for any rest.",
        ),
        setting(
            "require",
            Kind::String,
            "`nothing`; `digest`, the manifest names the image by its digest; `signature`, one of `keys` has signed a list with the image's digest.",
        ),
        setting("keys", Kind::OneOrList(&Kind::String), "Public keys, as `manifestKeys` has them."),
        setting(
            "digests",
            Kind::OneOrList(&Kind::String),
            "Files that list digests as sha256sum does, each with a signature beside it whose name ends in `.sig`.",
        ),
    ],
};

static ENDPOINT: Object = Object {
    name: "Endpoint",
    fields: &[
        setting(
            "url",
            Kind::String,
            "`http://HOST[:PORT]` or `https://HOST[:PORT]`, with a path if the registry has one before `/v2/`.",
        ),
        setting("skipVerify", Kind::Bool, SKIP_VERIFY),
        setting("ca", Kind::String, CA),
        setting("auth", Kind::String, AUTH),
    ],
};

/// The configuration file. Names are kubelet's where kubelet has the key.
pub(super) static CONFIG: Object = Object {
    name: "Config",
    fields: &[
        quiet("apiVersion", Kind::String, NOT_NEEDED),
        quiet("kind", Kind::String, NOT_NEEDED),
        setting(
            "nodeName",
            Kind::String,
            "Name of this node, the suffix of every pod's name. Default: the host name at the first start, kept from then on.",
        ),
        setting(
            "staticPodPath",
            Kind::OneOrList(&Kind::String),
            "Manifest directories in order; a later one replaces an object of the same kind, namespace and name. Default: `/etc/kubernetes/manifests`.",
        ),
        setting(
            "manifestKeys",
            Kind::OneOrList(&Kind::String),
            "Public keys, files of PEM, signify or minisign: manifests count only when one of them has signed them, as `trust.md` says. Default: none, and then nothing need be signed.",
        ),
        setting(
            "offlineMode",
            Kind::Bool,
            "`false`: the last good manifests are not kept in `dataDir`, so that after a boot nothing runs until they can be read. Default: `true`.",
        ),
        setting(
            "stateKey",
            Kind::String,
            "The key that encrypts the last good manifests in `dataDir`, Secrets included: a file, or `keyring:NAME` for a key of the kernel's keyring; see `trust.md`. Default: none.",
        ),
        setting(
            "imagePreloadPath",
            Kind::OneOrList(&Kind::String),
            "Directories with images: archives, which are imported at start, and what `gatepost image build-flash` has made, which runs from there. Default: none.",
        ),
        setting(
            "runtime",
            Kind::String,
            "The OCI runtime: a name looked up in `PATH`, or an absolute path. Default: `runc`.",
        ),
        setting(
            "podSecurity",
            Kind::String,
            "The Pod Security Standard, latest version, that pods must meet: `privileged`, `baseline` or `restricted`. Default: `privileged`.",
        ),
        setting("runDir", Kind::String, "Volatile state, on tmpfs. Default: `/run/gatepost`."),
        setting("dataDir", Kind::String, "Durable state, images, layers and volumes. Default: `/var/lib/gatepost`."),
        setting("logDir", Kind::String, "Container logs. Default: `/var/log/pods`."),
        setting(
            "crashLoopBackOff",
            Kind::Object(&CRASH_LOOP_BACK_OFF),
            "Waits between restarts of a container that ends.",
        ),
        setting(
            "containerLogMaxSize",
            Kind::Text(&SIZE),
            "A log file is rotated at this size, at least `4Ki`. Default: `10Mi`.",
        ),
        setting(
            "containerLogMaxFiles",
            Kind::Int32,
            "Log files kept of each run of a container (the present and the one before), the live one included, at least 2. Default: 5.",
        ),
        setting(
            "logsMaxTotal",
            Kind::Text(&SIZE),
            "Bound for all container logs together; the largest logger loses its oldest file first. Default: `256Mi`.",
        ),
        setting("writableLayer", Kind::Object(&WRITABLE_LAYER), "Where the writable layer of a container lives."),
        setting("podPidsLimit", Kind::Int64, "Processes that one pod may have; 0 or -1 for no limit. Default: 512."),
        setting(
            "podsMemoryLimit",
            Kind::Text(&SIZE),
            "Memory that all pods together may use; 0 for no limit. Default: what `systemReserved` and `kubeReserved` leave; without them, none next to a host's init, and as `resources.md` says on a gateway.",
        ),
        setting(
            "podsPidsLimit",
            Kind::Int64,
            "Processes that all pods together may have; 0 or -1 for no limit. Default: 0.",
        ),
        setting(
            "systemReserved",
            Kind::Map(&Kind::Text(&AMOUNT)),
            "`cpu` and `memory` that pods leave to the rest of the node; added to `kubeReserved`. Default: nothing.",
        ),
        setting(
            "kubeReserved",
            Kind::Map(&Kind::Text(&AMOUNT)),
            "As `systemReserved`; the two are added. Default: nothing.",
        ),
        setting(
            "singleProcessOOMKill",
            Kind::Bool,
            "`true`: when a container's memory is full the kernel kills one process; else, with cgroup v2, the whole container. Default: `false`.",
        ),
        setting(
            "allowedUnsafeSysctls",
            Kind::OneOrList(&Kind::String),
            "Kernel parameters beyond the safe ones that pods may set in their namespaces; a `*` at the end stands for any rest: `net.core.*`. Default: none.",
        ),
        setting(
            "devices",
            Kind::Map(&Kind::Object(&DEVICE)),
            "Devices of this node by the name (`gatepost.io/modbus0`) that `resources.limits` of a container asks for; see `devices.md`. Default: none.",
        ),
        setting(
            "seccompProfileRoot",
            Kind::String,
            "Directory of the files that `seccompProfile.localhostProfile` names. Default: `seccomp` in `dataDir`.",
        ),
        setting(
            "registries",
            Kind::Map(&Kind::Object(&REGISTRY)),
            "How images are pulled, by the registry's host (`docker.io`, `registry.example.org:5000`); `*` stands for all that are not named.",
        ),
        setting(
            "imagePolicy",
            Kind::List(&Kind::Object(&IMAGE_RULE)),
            "What must vouch for images: the first item that matches the name in the manifest counts; see `trust.md`. Default: nothing must.",
        ),
        setting(
            "imagePullProgressDeadline",
            Kind::Text(&DURATION),
            "So long a server may bring less than a kilobyte before the pull goes on elsewhere or fails; however long it takes in all. Default: `1m`.",
        ),
        setting(
            "imagePullBandwidth",
            Kind::Text(&SIZE),
            "Most bytes that pulls take in a second, such as `512Ki`. Default: as many as come.",
        ),
        setting(
            "imagePullFallback",
            Kind::Bool,
            "`false`: with `imagePullPolicy: Always` a container does not start while no registry can be reached, as under a kubelet. Default: `true`: \
             the image that is on this node is taken then, with a warning.",
        ),
        setting(
            "imageGCHighThresholdPercent",
            Kind::Int32,
            "From this use of their file system on images that nobody wants are removed; 100: never. Default: 85.",
        ),
        setting(
            "imageGCLowThresholdPercent",
            Kind::Int32,
            "… the least recently used first, until no more than this is used. Default: 80.",
        ),
        setting(
            "imageMinimumGCAge",
            Kind::Text(&DURATION),
            "An image that came, or was used, less than this ago is not removed. Default: `2m`.",
        ),
        setting(
            "discardUnpackedLayers",
            Kind::Bool,
            "`true`: layers are kept unpacked only, which halves what an import writes; other tools can no longer copy images out of the store. As containerd's `discard_unpacked_layers`. Default: `false`.",
        ),
        setting(
            "fetchBinary",
            Kind::String,
            "The program `gatepost-fetch`, without which nothing is pulled and probes by https and grpc are refused. Default: `gatepost-fetch` beside `gatepost`.",
        ),
        setting(
            "workerBinary",
            Kind::String,
            "The program `gatepost-worker`, which reads manifests and images; without it, what runs keeps running and nothing new begins. Default: `gatepost` itself; on a gateway, whose `gatepost` is without it, `gatepost-worker` beside `gatepost`.",
        ),
        setting("cgroupRoot", Kind::String, "Name of the cgroup that holds all pods. Default: `kubepods`."),
        setting(
            "resolvConf",
            Kind::String,
            "The resolver file that pods get with `dnsPolicy: Default`. Default: `/etc/resolv.conf`.",
        ),
        setting(
            "clusterDomain",
            Kind::String,
            "The domain of pods' full names: with `subdomain` a pod is `<hostname>.<subdomain>.<namespace>.svc.<clusterDomain>` in its own `/etc/hosts`. Default: none.",
        ),
        setting(
            "cniConfDir",
            Kind::String,
            "CNI configurations, of which the first by file name gives pods their network: `network.md`. Default: `/etc/cni/net.d`.",
        ),
        setting(
            "cniBinDir",
            Kind::OneOrList(&Kind::String),
            "Directories of the CNI plugins in order. Default: `/opt/cni/bin` and `/usr/lib/cni`.",
        ),
        setting(
            "podSubnet",
            Kind::String,
            "Where `cniConfDir` has no configuration: pods get addresses of this IPv4 subnet on a bridge of the node, `gatepost0`. Default: none, and then such pods have loopback only.",
        ),
        setting(
            "maxParallelStarts",
            Kind::Int32,
            "Runtime calls at a time; 0 for one more than there are cores. Default: 0.",
        ),
        setting(
            "consoleShell",
            Kind::String,
            "Who gets a root shell at the console: `none`; `password`, who knows it; `open`, everybody at it. Default: `none`.",
        ),
        setting(
            "consoleShellPassword",
            Kind::String,
            "The password's hash, as `mkpasswd -m sha-512` or `openssl passwd -6` prints it: `$6$...` or `$5$...`.",
        ),
        setting(
            "consoleShellTimeout",
            Kind::Text(&DURATION),
            "The console's shell ends when nothing was typed for so long; `0` for never. Default: `10m`.",
        ),
        setting(
            "consoleApply",
            Kind::Bool,
            "`true`: who sits at the console may paste manifests there, which are applied as by `gatepost apply`. Default: `false`.",
        ),
        setting("hostname", Kind::String, "Host name. PID 1 only. Default: that in `/etc/hostname`, else `gateway`."),
        setting("network", Kind::Object(&NETWORK), "The wired network. PID 1 only."),
        setting(
            "sysctls",
            Kind::Map(&Kind::Text(&SYSCTL)),
            "Kernel parameters such as `net.ipv4.ip_forward: 0`, set after those in `boot.md`. PID 1 only. Default: none.",
        ),
        setting(
            "modules",
            Kind::OneOrList(&Kind::String),
            "Kernel modules with parameters (`i6300esb heartbeat=30`) that are loaded with what they need, after those of `/etc/modules`. PID 1 only. Default: none.",
        ),
        setting(
            "dataPartition",
            Kind::String,
            "Mounted on `/var/lib`, ext4: `PARTLABEL=NAME` or `/dev/NAME`; empty: data is kept in memory. PID 1 only. Default: `PARTLABEL=data`.",
        ),
        setting(
            "dataOnFailure",
            Kind::String,
            "For a data partition that cannot be repaired. `tmpfs`: it is left alone and data is kept in memory; `format`: it is made anew. PID 1 only. Default: `tmpfs`.",
        ),
        setting(
            "flashPartition",
            Kind::String,
            "Mounted on `/flash`, read-only, squashfs or ext4: `PARTLABEL=NAME` or `/dev/NAME`; empty: none. PID 1 only. Default: `PARTLABEL=flash`.",
        ),
        setting(
            "watchdogTimeout",
            Kind::Text(&DURATION),
            "Time-out of the hardware watchdog, `1s` to `1h`. PID 1 only. Default: chosen by init.",
        ),
        setting(
            "watchdogMaximum",
            Kind::Text(&DURATION),
            "The longest time-out that the hardware really keeps, `1s` to `1h`. PID 1 only. Default: as the driver says.",
        ),
        setting(
            "shutdownBound",
            Kind::Text(&DURATION),
            "How long all pods together may take to stop at a reboot or poweroff, `1s` to `1h`. PID 1 only. Default: `2m`.",
        ),
    ],
};

static SYSCTL: Format = Format { name: "a value", numbers: true, check: |_| Ok(()) };

static NETWORK: Object = Object {
    name: "Network",
    fields: &[
        setting("interface", Kind::String, "The interface. Default: the first one with hardware behind it."),
        setting("address", Kind::String, "A fixed IPv4 address with its prefix: `192.168.1.10/24`. Default: DHCP."),
        setting("gateway", Kind::String, "Address of the default route, with `network.address`. Default: none."),
        setting(
            "dns",
            Kind::OneOrList(&Kind::String),
            "Name servers for `/run/resolv.conf`. Default: those of DHCP, else none.",
        ),
        setting(
            "dhcp",
            Kind::Bool,
            "`false` without an address: the network is left alone. Default: `true` without an address.",
        ),
    ],
};

static DEVICE: Object = Object {
    name: "Device",
    fields: &[
        setting("path", Kind::String, "The device by a path of the host, symbolic links followed."),
        setting(
            "byPath",
            Kind::String,
            "The device by the plug it is in, as udev names it: `platform-3f980000.usb-usb-0:1.2:1.0-port0`.",
        ),
        setting("usb", Kind::Object(&USB), "The device by what it says of itself on USB."),
        setting(
            "containerPath",
            Kind::String,
            "Where containers find it. Default: `/dev/` and the part of the name behind the slash.",
        ),
    ],
};

static USB: Object = Object {
    name: "Usb",
    fields: &[
        setting("vendor", Kind::String, "Vendor id, four hex digits in quotes."),
        setting("product", Kind::String, "Product id, four hex digits in quotes. Default: any."),
        setting("serial", Kind::String, "Serial number, as `lsusb -v` shows it. Default: any."),
        setting(
            "interface",
            Kind::String,
            "Number of the interface, two hex digits in quotes, for a device with several ports. Default: any.",
        ),
    ],
};

static CRASH_LOOP_BACK_OFF: Object = Object {
    name: "CrashLoopBackOff",
    fields: &[
        setting(
            "initialRestartPeriod",
            Kind::Text(&DURATION),
            "The first wait, then doubled; the first restart is always at once. Default: `10s`, or the longest wait if that is shorter.",
        ),
        setting("maxContainerRestartPeriod", Kind::Text(&DURATION), "The longest wait, `1s` to `1h`. Default: `300s`."),
    ],
};

static WRITABLE_LAYER: Object = Object {
    name: "WritableLayer",
    fields: &[
        setting(
            "medium",
            Kind::String,
            "`data` (below `dataDir`) or `memory` (a tmpfs for each container). Default: `data`.",
        ),
        setting("size", Kind::Text(&SIZE), "Bound of each tmpfs with `medium: memory`. Default: `16Mi`."),
    ],
};

const HEAD: &str = "\
# Configuration

One YAML or JSON file, `/etc/gatepost/config.yaml` unless `--config` names another; every key may be left out. An unknown key is an error. Names are those of the
kubelet's configuration where the kubelet has the key. This file is generated from the table that decodes the
configuration, and a test keeps it equal to it.

Any key can be set from outside, which counts more than the file: `gatepost.KEY=VALUE` on the kernel command line, or
`--set KEY=VALUE`. Inner keys are joined with a dot (`writableLayer.medium=memory`), items of lists with commas. A blank in a
value on the kernel command line needs double quotes: `gatepost.modules=\"i6300esb heartbeat=30\"`.

Where gatepost is PID 1 nothing of this stops the boot: a key that is wrong has its default, and what was wrong with it is told on the
console, by `get pods` and in `get events`. `gatepost.safe` on the kernel command line leaves the file unread.

| key | holds | meaning |
| --- | --- | --- |
";

/// The configuration reference as markdown: `docs/configuration.md`.
pub fn reference() -> String {
    let mut text = HEAD.to_owned();
    collect(&CONFIG, "", &mut text);
    text
}

fn collect(object: &Object, prefix: &str, text: &mut String) {
    for field in object.fields.iter().filter(|field| !field.meaning().is_empty()) {
        let key = format!("{prefix}{}", field.name);
        match field.kind {
            Kind::Object(inner) => collect(inner, &format!("{key}."), text),
            Kind::Map(Kind::Object(inner)) => {
                let _ = writeln!(text, "| `{key}` | a map of objects | {} |", field.meaning());
                collect(inner, &format!("{key}.NAME."), text);
            }
            // Writing to a String cannot fail.
            kind => {
                let _ = writeln!(text, "| `{key}` | {} | {} |", kind.described(), field.meaning());
            }
        }
    }
}
