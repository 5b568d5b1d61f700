#!/bin/bash
# cpio.sh DIR: writes the directory as an initramfs (cpio "newc") to the standard output: everything owned by root, sorted, with
# one time stamp, and with /dev/console, which PID 1 needs for its first words. fakeroot makes the device node without root.
set -euo pipefail
cd "${1:?usage: cpio.sh DIR}"
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-0}
# shellcheck disable=SC2016
fakeroot sh -euc '
    mkdir -p dev
    rm -f dev/console
    mknod -m 600 dev/console c 5 1
    find . -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
    find . | sort | cpio --quiet -o -H newc --reproducible -R 0:0'
