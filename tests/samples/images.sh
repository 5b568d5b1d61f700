#!/bin/bash
# images.sh DIR: builds the sample images into DIR from Debian packages, with other people's tools:
# umoci makes the layers, skopeo and buildah write the archives, each in a different form.
#
#   mosquitto.tar        docker-archive, as `docker save` writes it
#   nginx.tar            OCI archive, gzip layers
#   redis.tar            OCI archive, zstd layers
#   nodejs.tar.gz        docker-archive, compressed as a whole
#   docker-registry/     OCI image layout, a directory
#   busybox.tar          OCI archive written by buildah
set -euo pipefail

out=${1:?usage: images.sh DIR}
mkdir -p "$out"
out=$(cd "$out" && pwd)
work=$out/.work
cache=$out/.packages
mkdir -p "$cache"

# Everything that has to change the result is in this file.
stamp=$(sha256sum "${BASH_SOURCE[0]}" | cut -d' ' -f1)
if [ "$(cat "$out/.stamp" 2>/dev/null)" = "$stamp" ]; then
    exit 0
fi
rm -rf "$work" "$out/.stamp"
mkdir -p "$work"
trap 'rm -rf "$work"' EXIT

say() { echo "images: $*" >&2; }

# unpack ROOT PACKAGE…: the packages and all they depend on, as on a machine with nothing installed.
unpack() {
    local root=$1 list
    shift
    list=$(apt-get -s install --no-install-recommends -o Dir::State::status=/dev/null "$@" |
        awk '/^Inst/ { sub(/^\(/, "", $3); print $2 "=" $3 }')
    [ -n "$list" ] || { say "apt knows none of: $*"; exit 1; }
    mkdir -p "$root" "$cache"
    # shellcheck disable=SC2086
    (cd "$cache" && apt-get -qq -o APT::Sandbox::User=root download $list)
    local entry name version
    for entry in $list; do
        name=${entry%%=*}
        name=${name%%:*}
        version=${entry#*=}
        dpkg -x "$cache/${name}_${version//:/%3a}_"*.deb "$root"
    done
    rm -rf "$root"/usr/share/{doc,man,locale,info,lintian,bash-completion,perl} "$root"/usr/lib/*/perl* "$root"/var/cache/*
}

# A root with a shell and the users the daemons want; Debian's merged /usr.
base() {
    local root=$1 d
    mkdir -p "$root"/{usr/{bin,sbin,lib,lib64},etc,tmp,var/{lib,log,run},run,root,proc,sys,dev}
    for d in bin sbin lib lib64; do ln -s "usr/$d" "$root/$d"; done
    chmod 1777 "$root/tmp"
    cp /bin/busybox "$root/usr/bin/busybox"
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

say "base layer"
base "$work/base"
umoci init --layout "$work/oci"
umoci new --image "$work/oci:base"
umoci unpack --image "$work/oci:base" "$work/bundle"
cp -a "$work/base/." "$work/bundle/rootfs/"
umoci repack --image "$work/oci:base" "$work/bundle"
umoci config --image "$work/oci:base" --config.cmd /bin/sh --config.env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
rm -rf "$work/bundle"

# image NAME "PACKAGES" UMOCI-CONFIG…: one layer of packages on the base.
image() {
    local name=$1 packages=$2
    shift 2
    say "$name"
    umoci unpack --image "$work/oci:base" "$work/bundle"
    # shellcheck disable=SC2086
    unpack "$work/packages" $packages
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

image mosquitto "mosquitto mosquitto-clients" --config.entrypoint /usr/sbin/mosquitto --config.exposedports 1883/tcp
nginx_extra() {
    mkdir -p "$1/var/www/html" "$1/var/lib/nginx" "$1/var/log/nginx"
    ln -sf /dev/stdout "$1/var/log/nginx/access.log"
    ln -sf /dev/stderr "$1/var/log/nginx/error.log"
    # Debian's package links the site when it is configured, which nobody does here.
    mkdir -p "$1/etc/nginx/sites-enabled"
    ln -s ../sites-available/default "$1/etc/nginx/sites-enabled/default"
}
EXTRA=nginx_extra image nginx nginx-light --config.entrypoint /usr/sbin/nginx --config.cmd -g --config.cmd 'daemon off;'
redis_extra() { mkdir -p "$1/data" && chown 102:102 "$1/data"; }
EXTRA=redis_extra image redis redis-server --config.entrypoint /usr/bin/redis-server --config.workingdir /data --config.user redis
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
EXTRA=node_extra image nodejs nodejs --config.cmd node --config.cmd /home/node/server.js --config.workingdir /home/node
registry_extra() { mkdir -p "$1/registry"; }
EXTRA=registry_extra image docker-registry docker-registry --config.entrypoint /usr/bin/docker-registry \
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
copy "oci:$work/oci:nodejs" "docker-archive:$work/nodejs.tar:sample/nodejs:18"
gzip -1 -c "$work/nodejs.tar" > "$out/nodejs.tar.gz"
copy "oci:$work/oci:docker-registry" "oci:$out/docker-registry:sample/docker-registry:2"

build() { buildah --root "$work/buildah" --runroot "$work/buildah-run" --storage-driver vfs "$@"; }
container=$(build from scratch)
build copy --quiet "$container" "$work/base" / > /dev/null
build config --cmd /bin/sh --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
build commit --quiet --signature-policy "$policy" "$container" "oci-archive:$out/busybox.tar:sample/busybox:1" > /dev/null
build rm "$container" > /dev/null

echo "$stamp" > "$out/.stamp"
say "done: $(du -sh --exclude=.packages --exclude=.work "$out" | cut -f1) in $out"
