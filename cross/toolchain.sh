#!/bin/bash
# Assembles a private Rust toolchain for static musl binaries from Debian packages: compiler, cargo, the standard library's
# source, a linker, and musl with LLVM's unwinder for each target. The folder is laid out as rustup lays out a toolchain.
#
#   cross/toolchain.sh DIR      everything goes into DIR; needs no root, changes nothing else on this machine
#
# The compiler and the source come from the same Debian source package, so that they always match. Which mirror is asked
# is apt's own configuration. A finished toolchain carries DIR/stamp; a second run with the same script does nothing.
set -euo pipefail

suite=bookworm
linker=lld-22
unwinder=libunwind-19-dev
architectures="arm64 armhf"

die() {
    echo "toolchain: $1" >&2
    exit 1
}

[ $# = 1 ] || die "usage: cross/toolchain.sh DIR"
stamp=$(sha256sum "${BASH_SOURCE[0]}" | cut -d' ' -f1)
if [ -e "$1/stamp" ] && [ "$(cat "$1/stamp")" = "$stamp" ]; then exit 0; fi

for tool in apt-get dpkg dpkg-deb cc; do
    command -v "$tool" >/dev/null ||
        die "'$tool' is not here. This road needs a Debian machine with a C compiler (apt-get install gcc libc6-dev);
elsewhere install rustup's targets: rustup target add aarch64-unknown-linux-musl armv7-unknown-linux-musleabihf"
done
[ "$(dpkg --print-architecture)" = amd64 ] ||
    die "this road builds on amd64 only; on $(dpkg --print-architecture) use rustup's targets (https://rustup.rs)."
[ -e /usr/share/keyrings/debian-archive-keyring.gpg ] ||
    die "no keys of the Debian archive: apt-get install debian-archive-keyring"

# Folder of the archive with this label in apt's configuration, whatever suite this machine itself runs.
mirror() {
    local uri
    # shellcheck disable=SC2016
    uri=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' "Label: $1" | head -1)
    [ -n "$uri" ] || die "apt knows no archive labelled '$1': add one to /etc/apt/sources.list.d and run apt-get update."
    printf %s "$uri"
}
main=$(mirror Debian)
security=$(mirror Debian-Security)

mkdir -p "$1"
dir=$(cd "$1" && pwd)
rm -f "$dir/stamp"
work=$dir/work
rm -rf "$work"
mkdir -p "$work"/{lists/partial,cache/archives/partial,foreign}
trap 'rm -rf "$work"' EXIT

signed="signed-by=/usr/share/keyrings/debian-archive-keyring.gpg"
cat >"$work/sources.list" <<T
deb [arch=amd64,${architectures// /,} $signed] $main $suite main
deb [arch=amd64 $signed] $security $suite-security main
T
# What this machine already has (a C compiler and its libraries), told as one installed package: only what the Rust
# packages need beyond that is fetched.
cat >"$work/status" <<'T'
Package: this-machine
Status: install ok installed
Version: 1
Architecture: amd64
Maintainer: none <none@localhost>
Description: C compiler and C library
Provides: libc6 (= 99), libc-dev, libc6-dev (= 99), libgcc-s1 (= 99), libstdc++6 (= 99), gcc (= 99), c-compiler,
 binutils (= 99)
T
apt=(apt-get -qq -oDir::State::Lists="$work/lists" -oDir::State::status="$work/status" -oDir::Etc::SourceList="$work/sources.list"
    -oDir::Etc::SourceParts=/nonexistent -oDir::Cache="$work/cache" -oAPT::Architecture=amd64
    -oAPT::Architectures="amd64,${architectures// /,}" -oAPT::Sandbox::User= -oAcquire::Languages=none -oAcquire::Retries=3
    -oDPkg::Post-Invoke= -oAPT::Update::Post-Invoke= -oDebug::NoLocking=true)

echo "toolchain: fetching the package lists" >&2
"${apt[@]}" update >&2 || die "could not fetch the package lists. Look at apt-get's message above."

echo "toolchain: fetching the compiler, its source and the ARM libraries (170 MB)" >&2
"${apt[@]}" install --download-only --no-install-recommends -y rustc-web cargo-web rust-web-src "$linker" >&2 ||
    die "could not fetch the compiler. Look at apt-get's message above."
foreign=()
for a in $architectures; do foreign+=("musl-dev:$a" "libgcc-12-dev:$a" "$unwinder:$a"); done
(cd "$work/foreign" && "${apt[@]}" download "${foreign[@]}" >&2) ||
    die "could not fetch the ARM libraries. Look at apt-get's message above."

rm -rf "${dir:?}/usr"
echo "toolchain: unpacking into $dir" >&2
for deb in "$work"/cache/archives/*.deb; do
    case ${deb##*/} in
    rust-web-src_*) dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$work" --wildcards './usr/src/rustc-*/library' ;;
    *) dpkg -x "$deb" "$work/host" ;;
    esac
done
rustlib=$work/host/usr/lib/rustlib
rm -rf "$work/host/usr/share"
mkdir -p "$rustlib/src/rust" "$rustlib/x86_64-unknown-linux-gnu/bin"
mv "$work"/usr/src/rustc-*/library "$rustlib/src/rust/"
ln -s "../../../../bin/$linker" "$rustlib/x86_64-unknown-linux-gnu/bin/rust-lld"

# Each architecture in a folder of its own: the unwinder has the same path on all of them.
for deb in "$work"/foreign/*.deb; do
    a=${deb##*_}
    dpkg -x "$deb" "$work/${a%.deb}"
done
while read -r target musl gnu a; do
    self=$rustlib/$target/lib/self-contained
    mkdir -p "$self"
    cp "$work/$a/usr/lib/$musl"/*.[oa] "$work/$a/usr/lib/gcc/$gnu/12"/crt*.o "$self/"
    cp -L "$work/$a/usr/lib/$gnu/libunwind.a" "$self/"
done <<T
aarch64-unknown-linux-musl aarch64-linux-musl aarch64-linux-gnu arm64
armv7-unknown-linux-musleabihf arm-linux-musleabihf arm-linux-gnueabihf armhf
T

mv "$work/host/usr" "$dir/usr"
echo "$stamp" >"$dir/stamp"
