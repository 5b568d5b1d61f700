#!/bin/bash
# image.sh BOARD: builds the image of a board into .build/image/BOARD (see docs/boards.md).
#
#   kernel, initramfs, dtb   what the bootloader (or QEMU) loads        cmdline   the kernel command line
#   root.squashfs            the read-only root                         flash.squashfs   manifests and images
#   disk.img                 all of it with a partition table, to be written to a card or given to QEMU
#
# From the environment:
#   RUNTIME=runc|crun   GATEPOST=binary (else cross/build.sh builds it)   MANIFESTS=dir   IMAGES=dir (else the samples)
#   OUT=dir             instead of .build/image/BOARD
#   FIRMWARE=dir        files put onto the boot partition, for a board that starts from some
#   SOURCE_DATE_EPOCH   time stamp of everything (else that of the last commit)
# No root, no loop mounts, nothing installed. The same input gives the same bytes.
set -euo pipefail
export LC_ALL=C TZ=UTC
umask 022
cd "$(dirname "$0")/.."

board=${1:-}
if [ ! -f "board/$board" ]; then
    echo "image: usage: image.sh BOARD; there is no board/$board, but $(cd board && echo *)" >&2
    exit 1
fi
. rootfs/debian.sh
. rootfs/elf.sh
. rootfs/modules.sh
. rootfs/disk.sh
DTB='' UBOOT='' UBOOT_PACKAGE='' MODULES='' CMDLINE='' QEMU_DISK='' DATA_MIB=16 QEMU='' QEMU_CMDLINE='' FIRMWARE_CONFIG=''
# shellcheck source=board/qemu-aarch64
. "board/$board"

runtime=${RUNTIME:-runc}
case $runtime in runc | crun) ;; *) echo "image: RUNTIME is runc or crun, not $runtime" >&2; exit 1 ;; esac
case $ARCH in
aarch64) debian=arm64 triplet=/usr/lib/aarch64-linux-gnu ;;
armv7) debian=armhf triplet=/usr/lib/arm-linux-gnueabihf ;;
*) echo "image: board/$board: ARCH is aarch64 or armv7, not $ARCH" >&2; exit 1 ;;
esac
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 1700000000)}
export SOURCE_DATE_EPOCH

out=${OUT:-$PWD/.build/image/$board}
work=$out/.work
rm -rf "$work"
mkdir -p "$work"
trap 'rm -rf "$work"' EXIT
say() { echo "image: $board: $*" >&2; }

# --- the inputs: gatepost, Debian's packages, manifests and images -----------------------------------------------------
gatepost=${GATEPOST:-}
if [ -z "$gatepost" ]; then
    cross/build.sh "$ARCH"
    gatepost=.build/bin/$ARCH/gatepost
fi
[ -x "$gatepost" ] || { echo "image: no executable gatepost at $gatepost" >&2; exit 1; }
images=${IMAGES:-}
if [ -z "$images" ]; then
    images=.build/images-$debian
    tests/samples/images.sh "$images" "$debian"
fi
manifests=${MANIFESTS:-}
if [ -z "$manifests" ]; then
    # Those whose images are among the samples of this architecture.
    manifests=$work/manifests
    mkdir -p "$manifests"
    cp tests/samples/manifests/{10-mosquitto,20-publisher,30-nginx,40-redis,50-crash,70-offline}.yaml "$manifests/"
fi
debian_use .build/debian "$debian"

# packages_once KEY DIR NAME=VERSION…: unpacks into DIR unless it holds just these.
packages_once() {
    local dir=$1
    shift
    if [ "$(cat "$dir.list" 2>/dev/null)" != "$*" ]; then
        rm -rf "$dir" "$dir.list"
        debian_unpack "$dir" "$@"
        echo "$*" > "$dir.list"
    fi
}
kernel_package=$(debian_closure "$KERNEL" | grep '^linux-image-[0-9]')
kernel=$debian_dir/$KERNEL
say "kernel $kernel_package"
packages_once "$kernel" "$kernel_package"
version=$(ls "$kernel/lib/modules")

names=$(sed "s/#.*//; /@/{/@$runtime\\b/!d}" rootfs/packages | awk 'NF && !seen[$1]++ { print $1 }')
# shellcheck disable=SC2086
closure=$(debian_closure $names)
# shellcheck disable=SC2086
packages_once "$debian_dir/root-$runtime" $closure
{ echo "$kernel_package"; echo "$closure"; } | sort > "$out/packages"
echo "$SOURCE_DATE_EPOCH" > "$out/epoch"

# --- root: overlay, gatepost, programs with their libraries, modules ------------------------------------------------------
say "root with $runtime"
root=$work/root
mkdir -p "$root"/usr/{bin,sbin,lib} "$root"/{etc,proc,sys,dev,run,tmp,root,flash,mnt} "$root"/var/{lib,log}
for d in bin sbin lib; do ln -s "usr/$d" "$root/$d"; done
ln -s /run "$root/var/run"
ln -s /tmp "$root/var/tmp"
taken=$(sed "s/#.*//; /@/{/@$runtime\\b/!d}" rootfs/packages | awk '{ for (i = 2; i <= NF; i++) if ($i !~ /^@/) print $i }' | sed "s#^TRIPLET#$triplet#")
# shellcheck disable=SC2086
copy_with_libraries "$debian_dir/root-$runtime" "$root" $taken
while IFS=: read -r d list; do
    for a in $list; do ln -s /bin/busybox "$root$d/$a"; done
done < rootfs/applets
cp -a rootfs/overlay/. "$root/"
echo "runtime: $runtime" >> "$root/etc/gatepost/config.yaml"
cp "$gatepost" "$root/usr/bin/gatepost"
worker=$(dirname "$gatepost")/gatepost-worker
[ -x "$worker" ] || { echo "image: no executable $worker, which reads manifests and images" >&2; exit 1; }
cp "$worker" "$root/usr/bin/gatepost-worker"
# One that was built by itself may come without.
fetch=$(dirname "$gatepost")/gatepost-fetch
if [ -x "$fetch" ]; then cp "$fetch" "$root/usr/bin/gatepost-fetch"; else say "without gatepost-fetch: no pulls, no https and grpc probes"; fi
ln -s /usr/bin/gatepost "$root/usr/sbin/init"
# shellcheck disable=SC2046,SC2086
modules_pick "$kernel" "$root" "$root/etc/modules" $(sed 's/#.*//' rootfs/modules) $MODULES
# shellcheck disable=SC2046
modules_pick "$kernel" "$root" "$work/modules-on-demand" $(sed 's/#.*//' rootfs/modules-on-demand)
modules_index "$kernel" "$root"
cat > "$root/etc/os-release" <<R
NAME=gatepost
ID=gatepost
ID_LIKE=debian
VARIANT_ID=$board
BUILD_EPOCH=$SOURCE_DATE_EPOCH
R
# squash FROM TO COMPRESSION…
squash() {
    rm -f "$2"
    env -u SOURCE_DATE_EPOCH mksquashfs "$1" "$2" -comp "${@:3}" -all-root -all-time "$SOURCE_DATE_EPOCH" -mkfs-time "$SOURCE_DATE_EPOCH" \
        -noappend -quiet -no-progress -no-xattrs > "$work/squash.log" || { cat "$work/squash.log" >&2; return 1; }
}
find "$root" -type d -exec chmod 755 {} +
chmod 1777 "$root/tmp"
# A quarter larger than with zstd, and a board is up with a fifth fewer instructions (docs/benchmarks.md): small processors unpack slowly.
squash "$root" "$out/root.squashfs" lz4 -Xhc

# --- initramfs: gatepost and the modules that lead to the root ----------------------------------------------------------
initramfs=$work/initramfs
mkdir -p "$initramfs"/{dev,proc,sys,etc,root}
cp "$gatepost" "$initramfs/init"
# shellcheck disable=SC2086
modules_pick "$kernel" "$initramfs" "$initramfs/etc/modules-initramfs" $INITRAMFS_MODULES
rootfs/cpio.sh "$initramfs" | gzip -9n > "$out/initramfs"

# --- flash: manifests and images ------------------------------------------------------------------------------------------
say "flash"
mkdir -p "$work/flash/images" "$work/flash/manifests"
cp -r "$manifests/." "$work/flash/manifests/"
find "$images/" -mindepth 1 -maxdepth 1 ! -name '.*' -exec cp -r {} "$work/flash/images/" \;
chmod -R u=rwX,go=rX "$work/flash"
squash "$work/flash" "$out/flash.squashfs" zstd

# --- what is booted, and the disk -----------------------------------------------------------------------------------------
cp "$kernel/boot/vmlinuz-$version" "$out/kernel"
# arm64's is not compressed; every loader here takes it so.
if [ "$ARCH" = aarch64 ]; then gzip -9n < "$kernel/boot/vmlinuz-$version" > "$out/kernel"; fi
rm -f "$out/dtb"
if [ -n "$DTB" ]; then cp "$kernel/usr/lib/linux-image-$version/$DTB" "$out/dtb"; fi
echo "console=$CONSOLE quiet panic=-1 gatepost.root=PARTLABEL=rootA gatepost.watchdogMaximum=${WATCHDOG_MAX}s${CMDLINE:+ $CMDLINE}" \
    > "$out/cmdline"
if [ -n "$UBOOT_PACKAGE" ]; then
    packages_once "$debian_dir/$UBOOT_PACKAGE" "$UBOOT_PACKAGE"
    cp "$debian_dir/$UBOOT_PACKAGE$UBOOT" "$out/u-boot"
fi
# How QEMU emulates the board; DISK stands for the card. What the kernel is told besides is on no card.
echo "$QEMU_CMDLINE" > "$out/qemu-cmdline"
case ${QEMU:+$QEMU_DISK} in
'') rm -f "$out/qemu" ;;
sd) echo "$QEMU -drive if=sd,file=DISK,format=raw,cache=writeback" > "$out/qemu" ;;
*) echo "$QEMU -drive if=none,id=disk,file=DISK,format=raw,cache=writeback -device $QEMU_DISK,drive=disk" > "$out/qemu" ;;
esac
disk_build "$out" "$work" "$DATA_MIB"
say "done: $(cd "$out" && du -b --apparent-size kernel initramfs root.squashfs flash.squashfs | awk '{ printf "%s %.1f MiB  ", $2, $1 / 1048576 }')"
