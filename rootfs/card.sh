#!/bin/bash
# card.sh BOARD CARD: makes CARD, a copy of the board's image for QEMU: as large as cards are, and with the words that the kernel needs
# in this emulation only (QEMU_CMDLINE of the board), where it reads its command line from the card.
set -euo pipefail
cd "$(dirname "$0")/.."
out=.build/image/${1:?usage: card.sh BOARD CARD}
card=${2:?usage: card.sh BOARD CARD}
cp --sparse=always "$out/disk.img" "$card"
truncate -s 512M "$card"
if [ -e "$out/u-boot" ] && [ -s "$out/qemu-cmdline" ]; then
    # The first partition begins at 4 MiB (rootfs/disk.sh).
    conf=$(mtype -i "$card@@4M" ::extlinux/extlinux.conf)
    printf '%s\n' "$conf" | sed "s#^ *append .*#& $(cat "$out/qemu-cmdline")#" | mcopy -o -i "$card@@4M" - ::extlinux/extlinux.conf
fi
