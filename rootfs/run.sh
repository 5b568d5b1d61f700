#!/bin/bash
# run.sh BOARD [QEMU-ARGUMENT…]: boots the image of a board in QEMU with its serial console on this terminal.
# The card is a copy (.build/image/BOARD/card) that is kept; remove it to begin anew. Ctrl-A X pulls the plug.
set -euo pipefail
cd "$(dirname "$0")/.."
board=${1:?usage: run.sh BOARD}
shift
out=.build/image/$board
[ -e "$out/disk.img" ] || { echo "run: no image of $board: make image BOARD=$board" >&2; exit 1; }
[ -s "$out/qemu" ] || { echo "run: QEMU emulates no $board; write $out/disk.img to a card" >&2; exit 1; }

# A new image is a new card: its partitions may lie elsewhere.
if [ ! -e "$out/card" ] || [ "$out/disk.img" -nt "$out/card" ]; then
    rootfs/card.sh "$board" "$out/card"
fi
words=$(sed "s#DISK#$out/card#" "$out/qemu")
boot=()
[ -e "$out/u-boot" ] || boot=(-kernel "$out/kernel" -initrd "$out/initramfs" -append "$(cat "$out/cmdline" "$out/qemu-cmdline" | tr '\n' ' ')")
# A machine that QEMU makes up itself has a device tree from QEMU.
if [ -n "${boot[*]}" ] && [ -e "$out/dtb" ]; then boot+=(-dtb "$out/dtb"); fi
if [ -t 0 ]; then echo "run: $board; Ctrl-A X ends it" >&2; fi
# shellcheck disable=SC2086
exec $words -nodefaults -nographic -serial mon:stdio "${boot[@]}" "$@"
