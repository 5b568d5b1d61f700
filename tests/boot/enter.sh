#!/bin/sh
# enter.sh WORK: a gateway of its own in private namespaces (mount, pid, net, uts): boots it, then runs WORK/after in it.
# Its root is this machine's with everything written kept in memory; WORK/etc is laid over /etc, WORK/before runs first.
set -eu
work=$1
mount --make-rprivate /
mkdir -p "$work/layers" "$work/root"
mount -t tmpfs tmpfs "$work/layers"
mkdir "$work/layers/upper" "$work/layers/work"
root=$work/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$work/layers/upper,workdir=$work/layers/work" "$root"
rm -rf "$root/etc/gatepost" "$root/etc/modules" "$root/etc/hostname"
mkdir -p "$root/flash" "$root/run" "$root/proc" "$root/sys" "$root/dev" "$root/var/lib"
cp -r "$work/etc/." "$root/etc/"
cp "$work/gatepost" "$root/usr/bin/gatepost"
cp "$work/before" "$work/after" "$root/"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
if [ -e "$work/cgroups" ]; then mount --rbind /sys/fs/cgroup "$root/sys/fs/cgroup"; fi
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
mount --bind "$work/cmdline" "$root/proc/cmdline"
exec chroot "$root" /bin/sh -eu -c '. /before; status=0; GATEPOST_INIT_MS=1 gatepost boot || status=$?; echo "boot ended with $status"; . /after'
