#!/bin/sh
# Installs what the README's commands need and this machine lacks. Debian; root. Says plainly what it cannot do.
#   tests/setup.sh            what runs pods          tests/setup.sh test      what the tests need besides
#   tests/setup.sh cross      what building for ARM and testing it under qemu-user needs
set -eu

packages="runc crun skopeo umoci buildah busybox-static jq gcc libc6-dev make ca-certificates"
case ${1:-} in
test) packages="$packages attr libcap2-bin python3 shellcheck zstd" ;;
cross) packages="gcc libc6-dev binutils gawk make ca-certificates debian-archive-keyring qemu-user-static" ;;
esac

die() {
    echo "setup: $1" >&2
    exit 1
}

[ "${1:-}" = cross ] || [ "$(id -u)" = 0 ] || die "must be run as root: containers, cgroups and mounts need it. Try: sudo make $*"

# For ARM a toolchain is assembled where there is none: cross/toolchain.sh.
if [ "${1:-}" != cross ] && ! command -v cargo >/dev/null 2>&1; then
    die "no Rust toolchain found. Install one (https://rustup.rs), then run this again."
fi

missing=
for p in $packages; do
    dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $p"
done
if [ -n "$missing" ]; then
    [ "$(id -u)" = 0 ] || die "missing:$missing. Installing them needs root: sudo tests/setup.sh $*"
    command -v apt-get >/dev/null 2>&1 || die "missing:$missing. There is no apt-get here: install them by this system's own means."
    echo "setup: installing$missing" >&2
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing; } >&2 ||
        die "could not install$missing. Look at apt-get's message above; without a package mirror they cannot be had."
fi

if [ "${1:-}" = test ] && ! command -v cargo-deny >/dev/null 2>&1; then
    echo "setup: installing cargo-deny" >&2
    cargo install --quiet --locked cargo-deny || die "could not install cargo-deny from the crate registry."
fi
