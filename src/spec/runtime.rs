//! Documents of the OCI runtime specification: [`Spec`] and what it consists of.

use std::path::PathBuf;

use super::documents;
use crate::json::{Deserialize, Error, Serialize, Value, Writer};
use crate::sorted::BTreeMap;

documents! {
    /// `config.json`.
    #[serde(default)]
    Spec {
        #[serde(rename = "ociVersion")]
        version / set_version: by String,
        #[serde(skip_serializing_if = "Option::is_none")]
        root / set_root: by Option<Root>,
        #[serde(skip_serializing_if = "Option::is_none")]
        mounts / set_mounts: by Option<Vec<Mount>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        process / set_process: by Option<Process>,
        #[serde(skip_serializing_if = "Option::is_none")]
        hostname / set_hostname: by Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        annotations / set_annotations: by Option<BTreeMap<String, String>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        linux / set_linux: by Option<Linux>,
    }

    /// The root file system.
    Root {
        path / set_path: by PathBuf,
        #[serde(skip_serializing_if = "Option::is_none")]
        readonly / set_readonly: copy Option<bool>,
    }

    /// A mount.
    #[serde(rename_all = "camelCase")]
    Mount {
        destination / set_destination: by PathBuf,
        #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
        typ / set_typ: by Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        source / set_source: by Option<PathBuf>,
        #[serde(skip_serializing_if = "Option::is_none")]
        options / set_options: by Option<Vec<String>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        uid_mappings / set_uid_mappings: by Option<Vec<LinuxIdMapping>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        gid_mappings / set_gid_mappings: by Option<Vec<LinuxIdMapping>>,
    }

    /// The first process.
    #[serde(rename_all = "camelCase", default)]
    Process {
        #[serde(skip_serializing_if = "Option::is_none")]
        terminal / set_terminal: copy Option<bool>,
        user / set_user: by User,
        #[serde(skip_serializing_if = "Option::is_none")]
        args / set_args: by Option<Vec<String>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        env / set_env: by Option<Vec<String>>,
        cwd / set_cwd: by PathBuf,
        #[serde(skip_serializing_if = "Option::is_none")]
        capabilities / set_capabilities: by Option<LinuxCapabilities>,
        #[serde(skip_serializing_if = "Option::is_none")]
        no_new_privileges / set_no_new_privileges: copy Option<bool>,
        #[serde(skip_serializing_if = "Option::is_none")]
        apparmor_profile / set_apparmor_profile: by Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        selinux_label / set_selinux_label: by Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        rlimits / set_rlimits: by Option<Vec<PosixRlimit>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        oom_score_adj / set_oom_score_adj: copy Option<i32>,
    }

    /// A limit of the process, by getrlimit(2).
    PosixRlimit {
        #[serde(rename = "type")]
        typ / set_typ: by String,
        soft / set_soft: copy u64,
        hard / set_hard: copy u64,
    }

    /// Whom a process runs as.
    #[serde(rename_all = "camelCase", default)]
    User {
        uid / set_uid: copy u32,
        gid / set_gid: copy u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        additional_gids / set_additional_gids: by Option<Vec<u32>>,
    }

    /// Sets of capabilities.
    #[serde(default)]
    LinuxCapabilities {
        bounding / set_bounding: copy Capabilities,
        effective / set_effective: copy Capabilities,
        inheritable / set_inheritable: copy Capabilities,
        permitted / set_permitted: copy Capabilities,
        ambient / set_ambient: copy Capabilities,
    }

    /// What only Linux has.
    #[serde(rename_all = "camelCase", default)]
    Linux {
        #[serde(skip_serializing_if = "Option::is_none")]
        uid_mappings / set_uid_mappings: by Option<Vec<LinuxIdMapping>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        gid_mappings / set_gid_mappings: by Option<Vec<LinuxIdMapping>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        sysctl / set_sysctl: by Option<BTreeMap<String, String>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        resources / set_resources: by Option<LinuxResources>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cgroups_path / set_cgroups_path: by Option<PathBuf>,
        #[serde(skip_serializing_if = "Option::is_none")]
        namespaces / set_namespaces: by Option<Vec<LinuxNamespace>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        devices / set_devices: by Option<Vec<LinuxDevice>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        seccomp / set_seccomp: by Option<LinuxSeccomp>,
        #[serde(skip_serializing_if = "Option::is_none")]
        rootfs_propagation / set_rootfs_propagation: by Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        masked_paths / set_masked_paths: by Option<Vec<String>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        readonly_paths / set_readonly_paths: by Option<Vec<String>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        mount_label / set_mount_label: by Option<String>,
    }

    /// A range of ids inside and outside.
    #[derive(Copy)]
    LinuxIdMapping {
        #[serde(rename = "containerID")]
        container_id / set_container_id: copy u32,
        #[serde(rename = "hostID")]
        host_id / set_host_id: copy u32,
        size / set_size: copy u32,
    }

    /// Settings of the cgroup.
    #[serde(rename_all = "camelCase", default)]
    LinuxResources {
        #[serde(skip_serializing_if = "Option::is_none")]
        devices / set_devices: by Option<Vec<LinuxDeviceCgroup>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        memory / set_memory: by Option<LinuxMemory>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cpu / set_cpu: by Option<LinuxCpu>,
        #[serde(skip_serializing_if = "Option::is_none")]
        hugepage_limits / set_hugepage_limits: by Option<Vec<LinuxHugepageLimit>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        unified / set_unified: by Option<BTreeMap<String, String>>,
    }

    /// A rule of the device cgroup.
    LinuxDeviceCgroup {
        allow / set_allow: copy bool,
        #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
        typ / set_typ: copy Option<LinuxDeviceType>,
        #[serde(skip_serializing_if = "Option::is_none")]
        major / set_major: copy Option<i64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        minor / set_minor: copy Option<i64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        access / set_access: by Option<String>,
    }

    /// Memory.
    LinuxMemory {
        #[serde(skip_serializing_if = "Option::is_none")]
        limit / set_limit: copy Option<i64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        swap / set_swap: copy Option<i64>,
    }

    /// CPU time.
    LinuxCpu {
        #[serde(skip_serializing_if = "Option::is_none")]
        shares / set_shares: copy Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        quota / set_quota: copy Option<i64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        period / set_period: copy Option<u64>,
    }

    /// Huge pages of one size.
    #[serde(rename_all = "camelCase")]
    LinuxHugepageLimit {
        page_size / set_page_size: by String,
        limit / set_limit: copy i64,
    }

    /// A namespace, made anew unless a path is given.
    LinuxNamespace {
        #[serde(rename = "type")]
        typ / set_typ: copy LinuxNamespaceType,
        #[serde(skip_serializing_if = "Option::is_none")]
        path / set_path: by Option<PathBuf>,
    }

    /// A device node to make.
    #[serde(rename_all = "camelCase")]
    LinuxDevice {
        path / set_path: by PathBuf,
        #[serde(rename = "type")]
        typ / set_typ: copy LinuxDeviceType,
        major / set_major: copy i64,
        minor / set_minor: copy i64,
        #[serde(skip_serializing_if = "Option::is_none")]
        file_mode / set_file_mode: copy Option<u32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        uid / set_uid: copy Option<u32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        gid / set_gid: copy Option<u32>,
    }

    /// A filter of system calls.
    #[serde(rename_all = "camelCase")]
    LinuxSeccomp {
        default_action / set_default_action: copy LinuxSeccompAction,
        #[serde(skip_serializing_if = "Option::is_none")]
        default_errno_ret / set_default_errno_ret: copy Option<u32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        architectures / set_architectures: by Option<Vec<Arch>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        flags / set_flags: by Option<Vec<LinuxSeccompFilterFlag>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        listener_path / set_listener_path: by Option<PathBuf>,
        #[serde(skip_serializing_if = "Option::is_none")]
        listener_metadata / set_listener_metadata: by Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        syscalls / set_syscalls: by Option<Vec<LinuxSyscall>>,
    }

    /// What happens at some system calls.
    #[serde(rename_all = "camelCase")]
    LinuxSyscall {
        names / set_names: by Vec<String>,
        action / set_action: copy LinuxSeccompAction,
        #[serde(skip_serializing_if = "Option::is_none")]
        errno_ret / set_errno_ret: copy Option<u32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        args / set_args: by Option<Vec<LinuxSeccompArg>>,
    }

    /// A condition on an argument.
    #[serde(rename_all = "camelCase")]
    #[derive(Copy)]
    LinuxSeccompArg {
        index / set_index: copy u64,
        value / set_value: copy u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        value_two / set_value_two: copy Option<u64>,
        op / set_op: copy LinuxSeccompOperator,
    }
}

impl Linux {
    /// Rules of the device cgroup, to change.
    pub fn device_rules_mut(&mut self) -> Option<&mut Vec<LinuxDeviceCgroup>> {
        self.resources.as_mut()?.devices.as_mut()
    }
}

impl Spec {
    /// What only Linux has, to change.
    pub fn linux_mut(&mut self) -> Option<&mut Linux> {
        self.linux.as_mut()
    }

    /// The mounts, to change.
    pub fn mounts_mut(&mut self) -> Option<&mut Vec<Mount>> {
        self.mounts.as_mut()
    }

    /// The first process, to change.
    pub fn process_mut(&mut self) -> Option<&mut Process> {
        self.process.as_mut()
    }
}

/// Kind of a device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinuxDeviceType {
    /// All.
    #[default]
    A,
    /// Block.
    B,
    /// Character.
    C,
    /// Character, unbuffered.
    U,
    /// FIFO.
    P,
}

/// Kind of a namespace.
#[allow(missing_docs)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinuxNamespaceType {
    #[default]
    Mount,
    Cgroup,
    Uts,
    Ipc,
    User,
    Pid,
    Network,
    Time,
}

/// What a filter does.
#[allow(missing_docs)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum LinuxSeccompAction {
    ScmpActKill,
    ScmpActKillThread,
    ScmpActKillProcess,
    ScmpActTrap,
    ScmpActErrno,
    ScmpActNotify,
    ScmpActTrace,
    ScmpActLog,
    #[default]
    ScmpActAllow,
}

/// Architecture of a system call.
#[allow(missing_docs)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Arch {
    ScmpArchNative,
    ScmpArchX86,
    ScmpArchX86_64,
    ScmpArchX32,
    ScmpArchArm,
    ScmpArchAarch64,
    ScmpArchMips,
    ScmpArchMips64,
    ScmpArchMips64n32,
    ScmpArchMipsel,
    ScmpArchMipsel64,
    ScmpArchMipsel64n32,
    ScmpArchPpc,
    ScmpArchPpc64,
    ScmpArchPpc64le,
    ScmpArchS390,
    ScmpArchS390x,
    ScmpArchParisc,
    ScmpArchParisc64,
    ScmpArchRiscv64,
    ScmpArchLoongarch64,
    ScmpArchM68k,
    ScmpArchSh,
    ScmpArchSheb,
}

/// A flag of seccomp(2).
#[allow(missing_docs)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum LinuxSeccompFilterFlag {
    SeccompFilterFlagLog,
    SeccompFilterFlagTsync,
    SeccompFilterFlagSpecAllow,
    SeccompFilterFlagWaitKillableRecv,
}

/// How an argument is compared.
#[allow(missing_docs)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum LinuxSeccompOperator {
    ScmpCmpNe,
    ScmpCmpLt,
    ScmpCmpLe,
    #[default]
    ScmpCmpEq,
    ScmpCmpGe,
    ScmpCmpGt,
    ScmpCmpMaskedEq,
}

/// Capabilities in the kernel's order, the place is the bit (linux/capability.h), and their names.
macro_rules! capabilities {
    ($($variant:ident $name:literal)*) => {
        /// A capability.
        #[allow(missing_docs)]
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Capability {
            $($variant,)*
        }

        const NAMES: &[&str] = &[$($name),*];
    };
}

capabilities! {
    Chown "CAP_CHOWN"
    DacOverride "CAP_DAC_OVERRIDE"
    DacReadSearch "CAP_DAC_READ_SEARCH"
    Fowner "CAP_FOWNER"
    Fsetid "CAP_FSETID"
    Kill "CAP_KILL"
    Setgid "CAP_SETGID"
    Setuid "CAP_SETUID"
    Setpcap "CAP_SETPCAP"
    LinuxImmutable "CAP_LINUX_IMMUTABLE"
    NetBindService "CAP_NET_BIND_SERVICE"
    NetBroadcast "CAP_NET_BROADCAST"
    NetAdmin "CAP_NET_ADMIN"
    NetRaw "CAP_NET_RAW"
    IpcLock "CAP_IPC_LOCK"
    IpcOwner "CAP_IPC_OWNER"
    SysModule "CAP_SYS_MODULE"
    SysRawio "CAP_SYS_RAWIO"
    SysChroot "CAP_SYS_CHROOT"
    SysPtrace "CAP_SYS_PTRACE"
    SysPacct "CAP_SYS_PACCT"
    SysAdmin "CAP_SYS_ADMIN"
    SysBoot "CAP_SYS_BOOT"
    SysNice "CAP_SYS_NICE"
    SysResource "CAP_SYS_RESOURCE"
    SysTime "CAP_SYS_TIME"
    SysTtyConfig "CAP_SYS_TTY_CONFIG"
    Mknod "CAP_MKNOD"
    Lease "CAP_LEASE"
    AuditWrite "CAP_AUDIT_WRITE"
    AuditControl "CAP_AUDIT_CONTROL"
    Setfcap "CAP_SETFCAP"
    MacOverride "CAP_MAC_OVERRIDE"
    MacAdmin "CAP_MAC_ADMIN"
    Syslog "CAP_SYSLOG"
    WakeAlarm "CAP_WAKE_ALARM"
    BlockSuspend "CAP_BLOCK_SUSPEND"
    AuditRead "CAP_AUDIT_READ"
    Perfmon "CAP_PERFMON"
    Bpf "CAP_BPF"
    CheckpointRestore "CAP_CHECKPOINT_RESTORE"
}

impl Capability {
    /// Its bit.
    #[must_use]
    pub const fn bit(self) -> u64 {
        1 << self as u8
    }
}

/// A set of capabilities, as the kernel has it: bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities(u64);

impl Capabilities {
    /// All there are.
    pub const ALL: Self = Self((1 << NAMES.len()) - 1);

    /// These.
    #[must_use]
    pub const fn of(capabilities: &[Capability]) -> Self {
        let mut bits = 0;
        let mut rest = capabilities;
        while let [first, others @ ..] = rest {
            bits |= first.bit();
            rest = others;
        }
        Self(bits)
    }

    /// Those of a mask of the kernel's.
    #[must_use]
    pub const fn of_bits(bits: u64) -> Self {
        Self(bits & Self::ALL.0)
    }

    /// The one of a name, `CAP_` included.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        NAMES.iter().position(|known| *known == name).map(|bit| Self(1 << bit))
    }

    /// Whether it is in the set.
    #[must_use]
    pub const fn contains(self, capability: Capability) -> bool {
        self.0 & capability.bit() != 0
    }

    /// Those of both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those of this set alone.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The names of those in the set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        NAMES.iter().enumerate().filter(move |(bit, _)| self.0 >> bit & 1 == 1).map(|(_, name)| *name)
    }
}

impl Serialize for Capabilities {
    fn write(&self, out: &mut Writer) {
        out.open(b'[');
        self.names().for_each(|name| out.item(&name));
        out.close(b']');
    }
}

impl Deserialize for Capabilities {
    fn read(&mut self, value: Value) -> Result<(), Error> {
        let mut names: Vec<String> = Vec::new();
        names.read(value)?;
        *self = names.iter().filter_map(|name| Self::named(name)).fold(Self::default(), Self::with);
        Ok(())
    }

    fn blank() -> Self {
        Self::default()
    }
}
