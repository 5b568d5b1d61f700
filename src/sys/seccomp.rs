//! A seccomp(2) filter for clients: [`refuse_what_clients_do_not_need`].
//!
//! It refuses what an attacker inside would want next, and nothing a C library or a later standard library might need: such a list
//! does not break with the next release. What it leaves is bounded by the user, the capabilities and the root directory.
#![allow(unsafe_code, clippy::cast_possible_truncation, clippy::cast_sign_loss)] // constants of the kernel

use std::io;

use libc::{BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, c_long, sock_filter};

/// The architecture of the calls of this program, as linux/audit.h numbers it.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;
#[cfg(target_arch = "arm")]
const ARCHITECTURE: u32 = 0x4000_0028;

/// Its second table has the same architecture and numbers from here on.
#[cfg(target_arch = "x86_64")]
const X32: u32 = 0x4000_0000;

/// Of a call's data: its number, its architecture (struct `seccomp_data`).
const NUMBER: u32 = 0;
const ARCH: u32 = 4;

/// Other programs and processes, what they hold, mounts, namespaces, keys, modules, and large parts of the kernel that are seldom used.
const REFUSED: &[c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_kcmp,
    libc::SYS_kill,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_quotactl,
    libc::SYS_memfd_create,
];

/// Gives this process a filter that answers those calls with EPERM. It must have no_new_privs.
///
/// # Errors
/// The kernel has no seccomp filters.
pub(super) fn refuse_what_clients_do_not_need() -> io::Result<()> {
    let instruction = |code: u32, jt: u8, jf: u8, k: u32| sock_filter { code: code as u16, jt, jf, k };
    let load = |offset| instruction(BPF_LD | BPF_W | BPF_ABS, 0, 0, offset);
    let answer = |value| instruction(BPF_RET | BPF_K, 0, 0, value);
    let refused = || answer(libc::SECCOMP_RET_ERRNO | (libc::EPERM as u32));
    let is = |value: u32, else_skip| instruction(BPF_JMP | BPF_JEQ | BPF_K, 0, else_skip, value);
    // Calls by the table of another architecture have other numbers.
    let mut program =
        vec![load(ARCH), instruction(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, ARCHITECTURE), refused(), load(NUMBER)];
    #[cfg(target_arch = "x86_64")]
    program.extend([instruction(BPF_JMP | libc::BPF_JGE | BPF_K, 0, 1, X32), refused()]);
    for call in REFUSED {
        program.extend([is(u32::try_from(*call).unwrap_or(u32::MAX), 1), refused()]);
    }
    program.push(answer(libc::SECCOMP_RET_ALLOW));
    let filter =
        libc::sock_fprog { len: u16::try_from(program.len()).unwrap_or_default(), filter: program.as_mut_ptr() };
    // SAFETY: the structure and the instructions it points at outlive the call, which copies them.
    let result = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter, 0, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
