#!/bin/sh
# Installs what the README's commands need and this machine lacks. Debian; root if something is to be installed, or
# if containers are to run here. Says plainly what it cannot do.
#
#   setup.sh          to run pods on this machine        setup.sh image   to build and boot gateway images
#   setup.sh test     everything                         setup.sh cross   to build for ARM, and to test that under qemu-user
set -eu

packages="runc crun skopeo umoci buildah busybox-static jq gcc libc6-dev make ca-certificates"
cross="gcc libc6-dev binutils gawk make ca-certificates debian-archive-keyring qemu-user-static"
image="qemu-system-arm squashfs-tools mtools fdisk kmod cpio fakeroot binutils e2fsprogs"
case ${1:-} in
image) packages="skopeo umoci buildah busybox-static ca-certificates make git $cross $image" ;;
cross) packages=$cross ;;
test) packages="$packages attr fish iproute2 libcap2-bin mount python3 shellcheck strace util-linux zsh zstd $cross $image" ;;
esac

die() {
    echo "setup: $1" >&2
    exit 1
}

[ "$(id -u)" = 0 ] || [ "${1:-}" = image ] || [ "${1:-}" = cross ] ||
    die "must be run as root: containers, cgroups and mounts need it. Try: sudo make $*"

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
    [ "$(id -u)" = 0 ] || die "missing:$missing. Install them as root."
    export DEBIAN_FRONTEND=noninteractive
    # A qemu-utils from elsewhere (backports) excludes this release's QEMU; the same release's is put in its place.
    case $missing in
    *qemu-system-arm*)
        if dpkg-query -W qemu-utils >/dev/null 2>&1; then
            missing="$missing qemu-utils=$(apt-cache policy qemu-system-arm | awk '/Candidate:/ { print $2 }')"
        fi
        ;;
    esac
    # shellcheck disable=SC2086
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends --allow-downgrades $missing; } >&2 ||
        die "could not install$missing. Look at apt-get's message above; without a package mirror they cannot be had."
fi

if [ "${1:-}" = test ] && ! command -v cargo-deny >/dev/null 2>&1; then
    echo "setup: installing cargo-deny" >&2
    cargo install --quiet --locked cargo-deny || die "could not install cargo-deny from the crate registry."
fi
