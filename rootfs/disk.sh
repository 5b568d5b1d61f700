# shellcheck shell=bash
# disk.sh: the disk with its partitions, made without root and without loop mounts. Sourced.
#
#   boot   FAT: kernel, initramfs, device tree, and what the bootloader reads      rootA   read-only squashfs
#   flash  read-only squashfs: manifests and images                                data    ext4, last, so that it can grow
#
#   disk_build OUT WORK DATA_MIB     makes OUT/disk.img of OUT/{kernel,initramfs,dtb,u-boot,cmdline,*.squashfs}

# Fixed, so that two builds are equal. Nothing finds a partition by these; labels do that.
disk_id=9d2f0c1a-5c7e-4d55-8f0e-6a1b4c3d2e01
data_id=9d2f0c1a-5c7e-4d55-8f0e-6a1b4c3d2e05

disk_build() {
    local out=$1 work=$2 data=$3 boot_size root_size flash_size total size
    disk_boot_files "$out" "$work/boot"
    # Room for the next version: a third more, and at least 8 MiB.
    boot_size=$(disk_mib "$work/boot")
    boot_size=$((boot_size + boot_size / 3 + 8))
    root_size=$(disk_mib "$out/root.squashfs")
    root_size=$((root_size + root_size / 3 + 8))
    flash_size=$(disk_mib "$out/flash.squashfs")
    flash_size=$((flash_size + flash_size / 3 + 8))
    total=$((4 + boot_size + root_size + flash_size + data + 1))

    # Cards come in powers of two, and QEMU takes no others.
    size=64
    while [ "$size" -lt "$total" ]; do size=$((size * 2)); done
    rm -f "$out/disk.img"
    truncate -s "${size}M" "$out/disk.img"
    # 56 entries end before sector 16, where the boot ROM of some chips wants its loader (8 KiB).
    sfdisk -q "$out/disk.img" <<T
label: gpt
label-id: $disk_id
table-length: 56
first-lba: 2048
start=4MiB, size=${boot_size}MiB, name=boot, uuid=${data_id%5}1, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, attrs=LegacyBIOSBootable
size=${root_size}MiB, name=rootA, uuid=${data_id%5}2
size=${flash_size}MiB, name=flash, uuid=${data_id%5}3
size=${data}MiB, name=data, uuid=${data_id%5}4
T
    local boot=4
    local root=$((boot + boot_size))
    local flash=$((root + root_size))
    disk_fat "$work/boot" "$work/boot.fat" "$boot_size"
    dd if="$work/boot.fat" of="$out/disk.img" bs=1M seek=$boot conv=notrunc,sparse status=none
    dd if="$out/root.squashfs" of="$out/disk.img" bs=1M seek=$root conv=notrunc status=none
    dd if="$out/flash.squashfs" of="$out/disk.img" bs=1M seek=$flash conv=notrunc status=none
    # Small now, but made for the card it grows to (up to 256 GiB): 4 KiB blocks, inodes for a whole group, room for descriptors.
    # Fake time and seed: ext4 notes when it was made and seeds its directory hash at random.
    E2FSPROGS_FAKE_TIME=$SOURCE_DATE_EPOCH mke2fs -q -F -t ext4 -b 4096 -N 8192 -J size=4 -L data -U $data_id -m 1 \
        -E "hash_seed=$data_id,root_owner=0:0,lazy_itable_init=0,nodiscard,resize=67108864" \
        "$work/data.ext4" "${data}M" > /dev/null
    dd if="$work/data.ext4" of="$out/disk.img" bs=1M seek=$((flash + flash_size)) conv=notrunc,sparse status=none
    if [ -e "$out/u-boot" ]; then
        dd if="$out/u-boot" of="$out/disk.img" bs=1024 seek="$UBOOT_OFFSET" conv=notrunc status=none
    fi
}

disk_mib() { du -sm --apparent-size "$1" | cut -f1; }

# disk_boot_files OUT DIR: what lies on the boot partition. extlinux.conf is what U-Boot's distro boot looks for.
disk_boot_files() {
    local out=$1 dir=$2
    mkdir -p "$dir/extlinux"
    cp "$out/kernel" "$out/initramfs" "$out/cmdline" "$dir/"
    if [ -e "$out/dtb" ]; then cp "$out/dtb" "$dir/"; fi
    # A Raspberry Pi's firmware reads these two instead.
    if [ -n "$FIRMWARE_CONFIG" ]; then
        echo "$FIRMWARE_CONFIG" > "$dir/config.txt"
        mv "$dir/cmdline" "$dir/cmdline.txt"
    fi
    if [ -n "${FIRMWARE:-}" ]; then cp -r "$FIRMWARE/." "$dir/"; fi
    {
        echo "default gatepost"
        echo "label gatepost"
        echo "  linux /kernel"
        echo "  initrd /initramfs"
        if [ -e "$out/dtb" ]; then echo "  fdt /dtb"; fi
        echo "  append $(cat "$out/cmdline")"
    } > "$dir/extlinux/extlinux.conf"
}

# disk_fat DIR FILE MIB: a FAT file system with the content of a directory, by mtools.
disk_fat() {
    local dir=$1 file=$2 size=$3 path
    rm -f "$file"
    truncate -s "${size}M" "$file"
    mformat -i "$file" -N 6a1b4c3d -v BOOT ::
    find "$dir" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
    (cd "$dir" && find . -mindepth 1 | sort) | while read -r path; do
        if [ -d "$dir/$path" ]; then mmd -i "$file" "::$path"; else mcopy -m -i "$file" "$dir/$path" "::$path"; fi
    done
}
