#!/bin/bash
# images.sh DIR [arm64|armhf]: builds the sample images into DIR from Debian packages, with other people's tools:
# umoci makes the layers, skopeo and buildah write the archives, each in a different form.
#
# Without an architecture: for this machine, as large as packages are. With one: for a gateway, so small (programs with the
# libraries they need, compressed), and without nodejs and docker-registry. Nothing foreign is run.
#
#   mosquitto.tar        docker-archive, as `docker save` writes it
#   nginx.tar            OCI archive, gzip layers
#   redis.tar            OCI archive, zstd layers
#   nodejs.tar.gz        docker-archive, compressed as a whole
#   docker-registry/     OCI image layout, a directory
#   busybox.tar          OCI archive written by buildah
set -euo pipefail

out=${1:?usage: images.sh DIR [ARCH]}
arch=${2:-}
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$(dirname "$0")/../.."
. rootfs/debian.sh
. rootfs/elf.sh
work=$out/.work

# Everything that has to change the result is in these files.
stamp=$(cat tests/samples/images.sh rootfs/debian.sh rootfs/elf.sh | sha256sum | cut -d' ' -f1)
if [ "$(cat "$out/.stamp" 2>/dev/null)" = "$stamp" ]; then
    exit 0
fi
rm -rf "$work" "$out/.stamp"
mkdir -p "$work"
trap 'rm -rf "$work"' EXIT

say() { echo "images: $*" >&2; }

debian_use .build/debian "${arch:-$(dpkg --print-architecture)}"

# unpack ROOT PACKAGE…: the packages and all they depend on, as on a machine with nothing installed.
unpack() {
    local root=$1 list
    shift
    list=$(debian_closure "$@")
    # shellcheck disable=SC2086
    debian_unpack "$root" $list
    rm -rf "$root"/usr/share/{doc,man,locale,info,lintian,bash-completion,perl} "$root"/usr/lib/*/perl* "$root"/var/cache/*
}

# keep ROOT PATH…: of an unpacked root only these paths and the libraries they need; for a gateway.
keep() {
    local root=$1
    shift
    copy_with_libraries "$root" "$root.kept" "$@"
    rm -rf "$root"
    mv "$root.kept" "$root"
}

# A root with a shell and the users the daemons want; Debian's merged /usr.
base() {
    local root=$1 d
    mkdir -p "$root"/{usr/{bin,sbin,lib,lib64},etc,tmp,var/{lib,log,run},run,root,proc,sys,dev}
    for d in bin sbin lib lib64; do ln -s "usr/$d" "$root/$d"; done
    chmod 1777 "$root/tmp"
    unpack "$work/busybox" busybox-static
    cp "$work/busybox/bin/busybox" "$root/usr/bin/busybox"
    for d in $(/bin/busybox --list); do
        [ "$d" = busybox ] || ln -s busybox "$root/usr/bin/$d"
    done
    cat > "$root/etc/passwd" <<'P'
root:x:0:0:root:/root:/bin/sh
www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin
mosquitto:x:101:101::/var/lib/mosquitto:/usr/sbin/nologin
redis:x:102:102::/var/lib/redis:/usr/sbin/nologin
node:x:1000:1000::/home/node:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
P
    cat > "$root/etc/group" <<'G'
root:x:0:
tty:x:5:
www-data:x:33:
mosquitto:x:101:
redis:x:102:
node:x:1000:
nogroup:x:65534:
G
}

case $arch in
'') architecture=() ;;
armhf) architecture=(--architecture arm) ;;
*) architecture=(--architecture "$arch") ;;
esac

say "base layer"
base "$work/base"
umoci init --layout "$work/oci"
umoci new --image "$work/oci:base"
umoci unpack --image "$work/oci:base" "$work/bundle"
cp -a "$work/base/." "$work/bundle/rootfs/"
umoci repack --image "$work/oci:base" "$work/bundle"
umoci config --image "$work/oci:base" ${architecture[@]+"${architecture[@]}"} --config.cmd /bin/sh --config.env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
rm -rf "$work/bundle"

# image NAME "PACKAGES" "PATHS" UMOCI-CONFIG…: one layer of packages on the base; for a gateway only the paths of them.
image() {
    local name=$1 packages=$2 paths=$3
    shift 3
    say "$name"
    umoci unpack --image "$work/oci:base" "$work/bundle"
    # shellcheck disable=SC2086
    unpack "$work/packages" $packages
    # shellcheck disable=SC2086
    if [ -n "$arch" ]; then keep "$work/packages" $paths; fi
    # Packages of a merged-/usr release still ship /bin, /sbin and /lib: put those files where the links lead.
    local d
    for d in bin sbin lib lib64; do
        if [ -d "$work/packages/$d" ] && [ ! -L "$work/packages/$d" ]; then
            mkdir -p "$work/packages/usr/$d"
            cp -a "$work/packages/$d/." "$work/packages/usr/$d/"
            rm -rf "${work:?}/packages/$d"
        fi
    done
    # busybox's links must not be written through
    (cd "$work/packages" && find . ! -type d -print0) | (cd "$work/bundle/rootfs" && xargs -0 rm -f)
    cp -a "$work/packages/." "$work/bundle/rootfs/"
    if [ -n "${EXTRA:-}" ]; then "$EXTRA" "$work/bundle/rootfs"; fi
    umoci repack --image "$work/oci:$name" "$work/bundle"
    [ $# = 0 ] || umoci config --image "$work/oci:$name" "$@"
    rm -rf "$work/bundle" "$work/packages"
}

image mosquitto "mosquitto mosquitto-clients" "/usr/sbin/mosquitto /usr/bin/mosquitto_pub /usr/bin/mosquitto_sub /etc/mosquitto" \
    --config.entrypoint /usr/sbin/mosquitto --config.exposedports 1883/tcp
nginx_extra() {
    mkdir -p "$1/var/www/html" "$1/var/lib/nginx" "$1/var/log/nginx"
    ln -sf /dev/stdout "$1/var/log/nginx/access.log"
    ln -sf /dev/stderr "$1/var/log/nginx/error.log"
    # Debian's package links the site when it is configured, which nobody does here.
    mkdir -p "$1/etc/nginx/sites-enabled"
    ln -s ../sites-available/default "$1/etc/nginx/sites-enabled/default"
}
EXTRA=nginx_extra image nginx nginx-light "/usr/sbin/nginx /etc/nginx" \
    --config.entrypoint /usr/sbin/nginx --config.cmd -g --config.cmd 'daemon off;'
redis_extra() { mkdir -p "$1/data" && chown 102:102 "$1/data"; }
EXTRA=redis_extra image redis redis-server "/usr/bin/redis-server /usr/bin/redis-cli" \
    --config.entrypoint /usr/bin/redis-server --config.workingdir /data --config.user redis
node_extra() {
    mkdir -p "$1/home/node"
    cat > "$1/home/node/server.js" <<'J'
const http = require('http');
const port = Number(process.env.PORT || 8080);
http.createServer((request, response) => response.end(`hello from ${process.env.HOSTNAME}\n`))
  .listen(port, () => console.log(`listening on ${port}`));
process.on('SIGTERM', () => process.exit(0));
J
}
[ -n "$arch" ] || EXTRA=node_extra image nodejs nodejs "" --config.cmd node --config.cmd /home/node/server.js --config.workingdir /home/node
registry_extra() { mkdir -p "$1/registry"; }
[ -n "$arch" ] || EXTRA=registry_extra image docker-registry docker-registry "" --config.entrypoint /usr/bin/docker-registry \
    --config.cmd serve --config.cmd /etc/docker/registry/config.yml

say "archives"
policy=$work/policy.json
echo '{"default":[{"type":"insecureAcceptAnything"}]}' > "$policy"
copy() { skopeo --policy "$policy" copy --quiet "$@"; }
rm -rf "$out"/{mosquitto,nginx,redis,busybox}.tar "$out/nodejs.tar.gz" "$out/docker-registry"
copy "oci:$work/oci:mosquitto" "docker-archive:$out/mosquitto.tar:sample/mosquitto:2"
copy "oci:$work/oci:nginx" "oci-archive:$out/nginx.tar:sample/nginx:1"
copy --dest-compress-format zstd --dest-compress "oci:$work/oci:redis" "dir:$work/redis-zstd"
copy "dir:$work/redis-zstd" "oci-archive:$out/redis.tar:sample/redis:7"
if [ -z "$arch" ]; then
    copy "oci:$work/oci:nodejs" "docker-archive:$work/nodejs.tar:sample/nodejs:18"
    gzip -1 -c "$work/nodejs.tar" > "$out/nodejs.tar.gz"
    copy "oci:$work/oci:docker-registry" "oci:$out/docker-registry:sample/docker-registry:2"
fi

build() { buildah --root "$work/buildah" --runroot "$work/buildah-run" --storage-driver vfs "$@"; }
container=$(build from ${arch:+--arch "${architecture[1]}"} scratch)
build copy --quiet "$container" "$work/base" / > /dev/null
build config --cmd /bin/sh --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
build commit --quiet --signature-policy "$policy" "$container" "oci-archive:$out/busybox.tar:sample/busybox:1" > /dev/null
build rm "$container" > /dev/null

echo "$stamp" > "$out/.stamp"
say "done: $(du -sh --exclude=.packages --exclude=.work "$out" | cut -f1) in $out"
