#!/bin/bash
# Runs cargo for a static musl target.
#
#   cross/cargo.sh aarch64|armv7 CARGO-ARGUMENTS...      e.g. cross/cargo.sh armv7 build --release
#
# With rustup the target's own standard library is used (installed when it is missing). Where it cannot be had, a
# toolchain is assembled from Debian packages (cross/toolchain.sh) and the standard library is built along, for size.
# GATEPOST_TOOLCHAIN=rustup or =debian decides it by hand. Results: .build/target/TARGET/PROFILE/.
set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
toolchain=$top/.build/toolchain

die() {
    echo "cross: $1" >&2
    exit 1
}

case ${1:-} in
aarch64) target=aarch64-unknown-linux-musl emulator=qemu-aarch64-static ;;
armv7) target=armv7-unknown-linux-musleabihf emulator=qemu-arm-static ;;
*) die "usage: cross/cargo.sh aarch64|armv7 CARGO-ARGUMENTS..." ;;
esac
shift
[ $# -gt 0 ] || die "what shall cargo do? For example: cross/cargo.sh armv7 build --release"

# Whether rustup has the target's standard library, or can fetch it. A failure is remembered until rustup itself changes.
rustup_target() {
    command -v rustup >/dev/null || return 1
    rustup target list --installed 2>/dev/null | grep -qx "$target" && return 0
    local tried=$top/.build/rustup-lacks-$target
    if [ -e "$tried" ] && [ "$tried" -nt "$(command -v rustup)" ]; then return 1; fi
    echo "cross: asking rustup for $target" >&2
    timeout 300 rustup target add "$target" >&2 && return 0
    mkdir -p "$top/.build"
    touch "$tried"
    return 1
}

road=${GATEPOST_TOOLCHAIN:-}
case $road in
"") if rustup_target; then road=rustup; else road=debian; fi ;;
rustup) rustup_target || die "rustup cannot install $target. Try: rustup target add $target" ;;
debian) ;;
*) die "GATEPOST_TOOLCHAIN is '$road'; it can be 'rustup' or 'debian'." ;;
esac

# rust-lld, the C library and the unwinder come with the toolchain on both roads: no C cross compiler is needed.
# Without unwind tables: a release binary aborts on a panic, after its message.
flags="-Clinker-flavor=ld.lld -Clink-self-contained=yes -Ctarget-feature=+crt-static"
arguments=()
case " $* " in
*" test "*) features=panic-unwind,backtrace ;;
*)
    features=optimize_for_size
    flags="$flags -Crelocation-model=static -Cforce-unwind-tables=no -Clink-arg=--icf=all -Clink-arg=-O2"
    ;;
esac
cargo=cargo
if [ "$road" = debian ]; then
    "$top/cross/toolchain.sh" "$toolchain"
    # LLVM's unwinder is compiled for glibc and names its checked fprintf in a debugging aid that is off.
    flags="$flags -Clink-arg=--defsym=__fprintf_chk=abort"
    arguments+=("-Zbuild-std=std,panic_abort" "-Zbuild-std-features=$features")
    cargo=$toolchain/usr/bin/cargo
    export RUSTC=$toolchain/usr/bin/rustc RUSTDOC=$toolchain/usr/bin/rustdoc RUSTC_BOOTSTRAP=1
    export LD_LIBRARY_PATH=$toolchain/usr/lib/x86_64-linux-gnu
    unset RUSTUP_TOOLCHAIN
fi

name=${target^^}
name=${name//-/_}
export "CARGO_TARGET_${name}_LINKER=rust-lld" "CARGO_TARGET_${name}_RUSTFLAGS=$flags" "CARGO_TARGET_${name}_RUNNER=$emulator"
export CARGO_TARGET_DIR=$top/.build/target
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS

cd "$top"
subcommand=$1
shift
exec "$cargo" "$subcommand" --locked --target "$target" "${arguments[@]}" "$@"
