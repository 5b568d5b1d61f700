#!/bin/bash
# agent.sh BOARD: makes .build/image/BOARD/agent, a second initramfs for tests. QEMU is given the image's own initramfs with this
# one behind it and `rdinit=/agent/start`: the image itself stays as it is shipped, byte for byte.
# It holds busybox, the drivers of QEMU's virtio port and keyboard, and the two scripts of tests/vm/agent. Run after rootfs/image.sh.
set -euo pipefail
export LC_ALL=C
cd "$(dirname "$0")/../.."
. rootfs/debian.sh
. rootfs/modules.sh
board=${1:?usage: agent.sh BOARD}
# shellcheck source=board/qemu-aarch64
. "board/$board"
# A boot chain of its own loads only what is on the card.
if [ -n "${UBOOT_PACKAGE:-}" ]; then exit 0; fi
case $ARCH in aarch64) debian=arm64 ;; *) debian=armhf ;; esac
debian_use .build/debian "$debian"

out=.build/image/$board
work=$out/.agent
rm -rf "$work"
mkdir -p "$work/agent/memory" "$work/list"
cp tests/vm/agent/* "$work/agent/"
chmod +x "$work/agent/start"
debian_unpack "$work/packages" busybox-static
cp "$work/packages/bin/busybox" "$work/agent/busybox"
modules_pick "$debian_dir/$KERNEL" "$work/agent" "$work/agent/modules" virtio_mmio virtio_console virtio_input
rm -rf "$work/packages" "$work/list"
rootfs/cpio.sh "$work" | gzip -9n > "$out/agent"
rm -rf "$work"
