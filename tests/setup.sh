#!/bin/sh
# Installs what the README's commands need and this machine lacks. Debian; root if something is to be installed, or
# if containers are to run here. Says plainly what it cannot do.
#
#   setup.sh          to run pods on this machine        setup.sh image   to build and boot gateway images
#   setup.sh test     everything                         setup.sh cross   to build for ARM, and to test that under qemu-user
set -eu

packages="runc crun containernetworking-plugins iptables skopeo umoci buildah busybox-static jq gcc libc6-dev make ca-certificates"
cross="gcc libc6-dev binutils gawk make ca-certificates debian-archive-keyring qemu-user-static"
image="qemu-system-arm squashfs-tools mtools fdisk kmod cpio fakeroot binutils e2fsprogs"
case ${1:-} in
image) packages="skopeo umoci buildah busybox-static ca-certificates make git $cross $image" ;;
cross) packages=$cross ;;
test) packages="$packages attr fish iproute2 libcap2-bin mount python3 shellcheck strace docker-registry apache2-utils openssl minisign signify-openbsd python3-grpcio rsync util-linux zsh zstd erofs-utils squashfs-tools $cross $image" ;;
esac

die() {
    echo "setup: $*" >&2
    exit 1
}

# One word a line.
words() { echo "$1" | tr -s ' ' '\n'; }

# from_backports PACKAGE…: a qemu-utils newer than this release's excludes this release's QEMU. What is installed stays as it is, and
# QEMU comes from where that came from, by a source that is used here only.
from_backports() {
    suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
    # shellcheck disable=SC2016
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | head -1)
    lists=$(mktemp -d)
    for s in "$suite" "$suite-backports"; do
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $s main"
    done >"$lists/sources.list"
    echo "setup: from $suite-backports: $*"
    privately="-qq -oDir::State::Lists=$lists -oDir::Etc::SourceList=$lists/sources.list -oDir::Etc::SourceParts=/nonexistent
        -oAPT::Sandbox::User= -oAcquire::Languages=none"
    # shellcheck disable=SC2086
    apt-get $privately update && apt-get $privately install -y --no-install-recommends -t "$suite-backports" "$@"
    done=$?
    rm -rf "$lists"
    return "$done"
}

[ "$(id -u)" = 0 ] || [ "${1:-}" = image ] || [ "${1:-}" = cross ] ||
    die "must be run as root: containers, cgroups and mounts need it. Try: sudo make $*"

# For ARM a toolchain is assembled where there is none: cross/toolchain.sh.
if [ "${1:-}" != cross ] && ! command -v cargo >/dev/null 2>&1; then
    die "no Rust toolchain found. Install one (https://rustup.rs), then run this again."
fi

# What Cargo.toml asks for, and what `make lint` runs.
if [ "${1:-}" != cross ]; then
    need=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$(dirname "$0")/../Cargo.toml")
    have=$(rustc --version 2>/dev/null | cut -d' ' -f2)
    [ -n "$have" ] || die "there is a cargo, but no rustc that works. Install a Rust toolchain (https://rustup.rs), then run this again."
    [ "$(printf '%s\n' "$need" "$have" | sort -V | head -1)" = "$need" ] ||
        die "Rust $have is too old, gatepost needs $need. Update it (rustup update stable), then run this again."
fi
if [ "${1:-}" = test ]; then
    for tool in fmt clippy; do
        cargo "$tool" --version >/dev/null 2>&1 ||
            die "cargo $tool is missing. Install it (rustup component add rustfmt clippy), then run this again."
    done
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
    no_mirror="Look at apt-get's message above; without a package mirror nothing can be installed."
    apt-get update -qq >&2 || die "apt-get update failed. $no_mirror"
    have=$(dpkg-query -W -f='${Version}' qemu-utils 2>/dev/null || true)
    offered=$(apt-cache policy qemu-system-arm | awk '/Candidate:/ { print $2 }')
    if [ -n "$have" ] && dpkg --compare-versions "$have" gt "$offered"; then
        qemu=$(words "$missing" | grep '^qemu-system-' || true)
        missing=$(words "$missing" | grep -v '^qemu-system-' || true)
        # shellcheck disable=SC2086
        [ -z "$qemu" ] || from_backports $qemu >&2 || die "could not install $qemu beside qemu-utils $have. $no_mirror"
    fi
    # shellcheck disable=SC2086
    apt-get install -y -qq --no-install-recommends $missing >&2 ||
        die "could not install $(words "$missing" | xargs). $no_mirror"
fi

if [ "${1:-}" = test ] && ! command -v cargo-deny >/dev/null 2>&1; then
    echo "setup: installing cargo-deny" >&2
    cargo install --quiet --debug --locked cargo-deny || die "could not install cargo-deny from the crate registry."
fi
