#!/bin/bash
# Builds the static release binaries into .build/bin/ARCH/, each with the linker's map: gatepost, gatepost-worker, gatepost-fetch.
#
#   cross/build.sh [aarch64|armv7]...       both without an argument
set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
[ $# -gt 0 ] || set -- aarch64 armv7
if [ $# = 1 ]; then which=$1; else which=both; fi
# One after the other: together, each would get the features that only another one wants of a crate. And all write one map.
for program in gatepost gatepost-worker gatepost-fetch; do
    case $program in
    gatepost-fetch) package=gatepost-fetch ;;
    *) package=gatepost ;;
    esac
    "$top/cross/cargo.sh" "$which" build --release --package "$package" --bin "$program" --no-default-features
    for arch in "$@"; do
        case $arch in
        aarch64) target=aarch64-unknown-linux-musl ;;
        armv7) target=armv7-unknown-linux-musleabihf ;;
        esac
        mkdir -p "$top/.build/bin/$arch"
        built=$top/.build/target/$target/release/$program
        map=$top/.build/bin/$arch/$program.map
        if [ "$built" -nt "$map" ]; then cp "$top/.build/target/$target/gatepost.map" "$map"; fi
        cmp -s "$built" "$top/.build/bin/$arch/$program" || install "$built" "$top/.build/bin/$arch/$program"
    done
done
