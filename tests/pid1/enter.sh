#!/bin/bash
# enter.sh DIRECTORY: runs DIRECTORY/gatepost as PID 1 of a root of its own. To be started as PID 1 of new pid, mount, uts, ipc and net
# namespaces. The root is a tmpfs on DIRECTORY/root, so nothing here can touch a file system of the machine; what it has of the
# machine is bind-mounted. Its console is DIRECTORY/console, its data partition DIRECTORY/data.
set -eu
dir=$1
root=$dir/root
exec 3>"$dir/entered"
mount -t tmpfs -o size=64m tmpfs "$root"
cd "$root"
mkdir -p proc sys dev run tmp sbin etc/gatepost var/lib var/log flash/manifests old usr
ln -s /init-binary sbin/init
for name in bin lib lib64; do
    if [ -L "/$name" ]; then ln -sfn "$(readlink "/$name")" "$name" 2>/dev/null || { rmdir "$name"; ln -s "$(readlink "/$name")" "$name"; }; fi
done
mount --bind /usr usr
cp "$dir/gatepost" init-binary
mount -t tmpfs tmpfs dev
for node in null zero full random urandom tty; do
    touch "dev/$node"
    mount --bind "/dev/$node" "dev/$node"
done
if [ -e "$dir/console" ]; then
    touch dev/console
    mount --bind "$dir/console" dev/console
fi
if [ -e "$dir/config.yaml" ]; then cp "$dir/config.yaml" etc/gatepost/config.yaml; fi
cp -r "$dir/manifests/." flash/manifests/
mount --bind "$dir/data" var/lib
mount -t sysfs sysfs sys
if [ -e "$dir/with-cgroups" ]; then
    mount --rbind /sys/fs/cgroup sys/fs/cgroup
else
    mount -t tmpfs tmpfs sys/fs/cgroup
fi
pivot_root . old
# umount(8) reads the mount table; PID 1 shall find no /proc.
mount -t proc proc proc
umount -l /old
umount /proc
rmdir old
echo entered >&3
exec 3>&-
exec -a "${2:-init}" /init-binary
