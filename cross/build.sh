#!/bin/bash
# Builds the static release binaries into .build/bin/ARCH/gatepost.
#
#   cross/build.sh [aarch64|armv7]...       both without an argument
set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
[ $# -gt 0 ] || set -- aarch64 armv7
for arch in "$@"; do
    case $arch in
    aarch64) target=aarch64-unknown-linux-musl ;;
    armv7) target=armv7-unknown-linux-musleabihf ;;
    *)
        echo "build: '$arch' is not a target; it can be aarch64 or armv7." >&2
        exit 1
        ;;
    esac
    "$top/cross/cargo.sh" "$arch" build --release
    mkdir -p "$top/.build/bin/$arch"
    built=$top/.build/target/$target/release/gatepost
    cmp -s "$built" "$top/.build/bin/$arch/gatepost" || install "$built" "$top/.build/bin/$arch/gatepost"
done
