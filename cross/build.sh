#!/bin/bash
# Builds the static release binaries into .build/bin/ARCH/gatepost.
#
#   cross/build.sh [aarch64|armv7]...       both without an argument
set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
[ $# -gt 0 ] || set -- aarch64 armv7
if [ $# = 1 ]; then which=$1; else which=both; fi
"$top/cross/cargo.sh" "$which" build --release
for arch in "$@"; do
    case $arch in
    aarch64) target=aarch64-unknown-linux-musl ;;
    armv7) target=armv7-unknown-linux-musleabihf ;;
    esac
    mkdir -p "$top/.build/bin/$arch"
    built=$top/.build/target/$target/release/gatepost
    cmp -s "$built" "$top/.build/bin/$arch/gatepost" || install "$built" "$top/.build/bin/$arch/gatepost"
done
