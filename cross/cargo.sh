#!/bin/bash
# Runs cargo for a static musl target, or for both at once, which fills the machine's cores better than one after the other.
#
#   cross/cargo.sh aarch64|armv7|both CARGO-ARGUMENTS...      e.g. cross/cargo.sh armv7 build --release
#
# Compiler and C library come from rustup where it has both targets, else from Debian packages (cross/toolchain.sh); the
# standard library is built along, for size. GATEPOST_TOOLCHAIN=rustup or =debian decides it by hand. Results:
# .build/target/TARGET/PROFILE/.
set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
toolchain=$top/.build/toolchain

die() {
    echo "cross: $1" >&2
    exit 1
}

case ${1:-} in
aarch64) targets=(aarch64-unknown-linux-musl) ;;
armv7) targets=(armv7-unknown-linux-musleabihf) ;;
both) targets=(aarch64-unknown-linux-musl armv7-unknown-linux-musleabihf) ;;
*) die "usage: cross/cargo.sh aarch64|armv7|both CARGO-ARGUMENTS..." ;;
esac
shift
[ $# -gt 0 ] || die "what shall cargo do? For example: cross/cargo.sh armv7 build --release"

# Whether rustup has what is needed for these targets, or can fetch it. A failure is remembered, so that it is asked once.
from_rustup() {
    command -v rustup >/dev/null || return 1
    local installed wanted=rust-src-$* tried
    installed=$(rustup component list --installed)
    tried=$top/.build/rustup-lacks-${wanted// /-}
    if ! grep -qx rust-src <<<"$installed" ||
        [ "$(grep -cxFf <(printf 'rust-std-%s\n' "$@") <<<"$installed")" != $# ]; then
        [ ! -e "$tried" ] || return 1
        echo "cross: asking rustup for rust-src and $*" >&2
        if ! timeout 300 rustup component add rust-src >&2 || ! timeout 300 rustup target add "$@" >&2; then
            echo "cross: rustup does not have them; taking Debian's packages" >&2
            mkdir -p "$top/.build"
            touch "$tried"
            return 1
        fi
    fi
}

road=${GATEPOST_TOOLCHAIN:-}
case $road in
"") if from_rustup aarch64-unknown-linux-musl armv7-unknown-linux-musleabihf; then road=rustup; else road=debian; fi ;;
rustup) from_rustup "${targets[@]}" || die "rustup cannot install what is needed. Try: rustup component add rust-src; rustup target add ${targets[*]}" ;;
debian) ;;
*) die "GATEPOST_TOOLCHAIN is '$road'; it can be 'rustup' or 'debian'." ;;
esac

# rust-lld, the C library and the unwinder come with the toolchain on both roads: no C cross compiler is needed.
# Without unwind tables: a release binary aborts on a panic, after its message.
# libc_unstable_musl_v1_2: musl's 64-bit time_t on armv7, without which the clock ends in 2038.
flags="-Clinker-flavor=ld.lld -Clink-self-contained=yes -Ctarget-feature=+crt-static --cfg=libc_unstable_musl_v1_2"
arguments=()
release=
case " $* " in
*" test "*) features=panic-unwind,backtrace ;;
*)
    features=optimize_for_size
    flags="$flags -Crelocation-model=static -Cforce-unwind-tables=no -Clink-arg=--icf=all -Clink-arg=-O2"
    # SHA-2 as a loop instead of one straight line: a sixth of the code, a tenth slower where the CPU has no instruction for it.
    flags="$flags --cfg=sha2_backend_soft=\"compact\""
    # A thread names itself only, for which musl needs no text put together; its printf stays out.
    flags="$flags -Clink-arg=--defsym=snprintf=abort"
    # Nothing unwinds and no backtrace is printed, so that LLVM's unwinder, and with it the C library's printf, stays out.
    flags="$flags -Clink-arg=--defsym=_Unwind_Backtrace=abort -Clink-arg=--defsym=_Unwind_GetIP=abort"
    # A panic's place begins at the crate: short, and the same on every machine. The long name is crates.io's, on all of them.
    registry=${CARGO_HOME:-$HOME/.cargo}/registry/src
    flags="$flags --remap-path-prefix=$registry/= --remap-path-prefix=$registry/index.crates.io-1949cf8c6b5b557f/="
    release=1
    ;;
esac
# The standard library comes with the compiler, so building it is as steady as the compiler is. The variable after it
# makes musl's time_t have 64 bits there too.
export RUSTC_BOOTSTRAP=1 RUST_LIBC_UNSTABLE_MUSL_V1_2_3=1
arguments+=("-Zbuild-std=std,panic_abort" "-Zbuild-std-features=$features")
cargo=cargo
if [ "$road" = debian ]; then
    "$top/cross/toolchain.sh" "$toolchain"
    # LLVM's unwinder is compiled for glibc and names its checked fprintf in a debugging aid that is off.
    flags="$flags -Clink-arg=--defsym=__fprintf_chk=abort"
    cargo=$toolchain/usr/bin/cargo
    export RUSTC=$toolchain/usr/bin/rustc RUSTDOC=$toolchain/usr/bin/rustdoc
    export LD_LIBRARY_PATH=$toolchain/usr/lib/x86_64-linux-gnu
    unset RUSTUP_TOOLCHAIN
fi

if [ -n "$release" ]; then
    library=$("${RUSTC:-rustc}" --print sysroot)/lib/rustlib/src/rust/library
    flags="$flags --remap-path-prefix=$library/="
fi
for target in "${targets[@]}"; do
    own=
    emulator=qemu-aarch64-static
    case $target in armv7*) emulator=qemu-arm-static ;; esac
    if [ -n "$release" ]; then
        mkdir -p "$top/.build/target/$target"
        own=" -Clink-arg=-Map=$top/.build/target/$target/gatepost.map"
        case $target in
        # Thumb-2, as Debian's armhf: a quarter less code. The C library's tables for unwinding name two more functions.
        armv7*)
            own="$own -Ctarget-feature=+thumb-mode -Clink-arg=--defsym=_Unwind_VRS_Get=abort"
            own="$own -Clink-arg=--defsym=__aeabi_unwind_cpp_pr0=abort -Clink-arg=--defsym=__aeabi_unwind_cpp_pr1=abort"
            ;;
        # Repeated instructions become functions of their own, in three rounds, and so does what functions do first and last. Not
        # on ARM, where a second round loses return addresses (LLVM 22): what is wrong there once is not trusted in the first.
        *)
            own="$own -Cllvm-args=-enable-machine-outliner -Cllvm-args=-machine-outliner-reruns=2"
            own="$own -Cllvm-args=-homogeneous-prolog-epilog"
            ;;
        esac
    fi
    name=${target^^}
    name=${name//-/_}
    export "CARGO_TARGET_${name}_LINKER=rust-lld" "CARGO_TARGET_${name}_RUSTFLAGS=$flags$own" "CARGO_TARGET_${name}_RUNNER=$emulator"
    arguments+=(--target "$target")
done
export CARGO_TARGET_DIR=$top/.build/target
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS

cd "$top"
subcommand=$1
shift
exec "$cargo" "$subcommand" --locked "${arguments[@]}" "$@"
