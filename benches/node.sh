# shellcheck shell=bash
# node.sh: sourced by the benches: a gatepost of their own below a temporary directory, with its own run, data and log
# directories and its own cgroup, and a busybox image made by umoci. Everything is gone at the end.
#
#   GATEPOST=FILE   the binary       RUNTIME=runc   the OCI runtime

[ "$(id -u)" = 0 ] || { echo "bench: must be run as root: namespaces, mounts and cgroups need it" >&2; exit 1; }

# A mount namespace of our own: what others mount on this machine would wake gatepost, which watches the mount table.
if [ -z "${BENCH_MOUNTS:-}" ]; then
    export BENCH_MOUNTS=private
    exec unshare --mount --propagation private "$PWD/benches/$(basename "$0")" "$@"
fi

# Copies of other nodes' mounts would vanish from it, which is a change as well, when those nodes remove their directories.
awk '$5 ~ "^/(tmp|var/lib)/" { print $5 }' /proc/self/mountinfo | sort -r | while read -r mounted; do
    umount -l "$mounted" || true
done

gatepost=$(realpath "${GATEPOST:?name the binary, or call make bench}")
runtime=$(command -v "${RUNTIME:-runc}")
disk=
work=
name=bench$$
init=

die() {
    echo "bench: $1" >&2
    [ -s "$work/gatepost.log" ] && tail -n 20 "$work/gatepost.log" >&2
    exit 1
}

# A busybox image by umoci: its bundle in $work/bundle, for bare runs of the runtime, its layout in $work/layout.
make_image() {
    umoci init --layout "$work/layout"
    umoci new --image "$work/layout:1"
    umoci unpack --image "$work/layout:1" "$work/bundle"
    mkdir -p "$work"/bundle/rootfs/{bin,proc,sys,dev,tmp,etc}
    cp /bin/busybox "$work/bundle/rootfs/bin/busybox"
    local applet
    for applet in sh sleep; do ln -s busybox "$work/bundle/rootfs/bin/$applet"; done
    # busybox' date knows no nanoseconds: the host's, with the libraries it needs.
    local file
    for file in /bin/date $(ldd /bin/date | grep -o '/[^ ]*'); do
        mkdir -p "$work/bundle/rootfs$(dirname "$file")"
        cp -L "$file" "$work/bundle/rootfs$file"
    done
    umoci repack --image "$work/layout:1" "$work/bundle"
    umoci config --image "$work/layout:1" --config.cmd /bin/sh --config.env PATH=/bin
}

# pod NAME COMMAND: writes a manifest; the pod uses the host's network, as the peers' measurements did.
pod() {
    cat > "$work/.pod" <<Y
apiVersion: v1
kind: Pod
metadata: {name: "$1"}
spec:
  hostNetwork: true
  terminationGracePeriodSeconds: 1
  containers:
    - name: main
      image: bench/busybox:1
      imagePullPolicy: Never
      command: [/bin/sh, -c, "$2"]
      volumeMounts: [{name: out, mountPath: /out}]
  volumes: [{name: out, hostPath: {path: "$work/out"}}]
Y
    mv "$work/.pod" "$work/manifests/$1.yaml"
}

# Images and settings; gatepost does not run yet.
prepare_node() {
    make_image > "$work/image.log" 2>&1 || { cat "$work/image.log" >&2; die "umoci cannot make the image"; }
    mkdir -p "$work"/{manifests,data,logs,out}
    cat > "$work/config.yaml" <<Y
nodeName: bench
staticPodPath: $work/manifests
runtime: $runtime
runDir: $work/run
dataDir: $work/data
logDir: $work/logs
cgroupRoot: $name
Y
    "$gatepost" image import --data-dir "$work/data" --name bench/busybox:1 "$work/layout" > "$work/import.log" 2>&1 ||
        { cat "$work/import.log" >&2; die "the image is not imported"; }
}

start_gatepost() {
    "$gatepost" run --config "$work/config.yaml" --stop-pods > "$work/gatepost.log" 2>&1 &
    init=$!
    local tries=0
    until "$gatepost" get pods > /dev/null 2>&1; do
        kill -0 "$init" 2> /dev/null || die "gatepost does not start"
        tries=$((tries + 1))
        [ "$tries" -lt 300 ] || die "gatepost does not answer"
        sleep 0.1
    done
}

# wait_running N: until N pods are Running.
wait_running() {
    local tries=0
    until [ "$("$gatepost" get pods --no-headers 2> /dev/null | awk '$3 == "Running"' | wc -l)" -ge "$1" ]; do
        tries=$((tries + 1))
        [ "$tries" -lt 1200 ] || { "$gatepost" get pods >&2; die "$1 pods do not run"; }
        sleep 0.1
    done
}

# wait_quiet: until only the processes that stay have been there for three seconds: durable state is written, helpers have ended.
wait_quiet() {
    local tries=0 quiet=0
    while [ "$quiet" -lt 30 ]; do
        if [ "$(descendants "$init" | wc -l)" -le 2 ]; then quiet=$((quiet + 1)); else quiet=0; fi
        tries=$((tries + 1))
        [ "$tries" -lt 600 ] || die "helpers do not end"
        sleep 0.1
    done
}

# The processes that stay: "ROLE PID" a line.
roles() {
    echo "init $init"
    local pid words
    for pid in $(descendants "$init"); do
        mapfile -d '' -t words < "/proc/$pid/cmdline" 2> /dev/null || continue
        case ${words[1]:-} in supervise) echo "supervisor $pid" ;; log-writer) echo "log-writer $pid" ;; esac
    done
}

# descendants PID: its children and theirs, but not what is in a pid namespace of its own, which are the containers.
descendants() {
    local pid
    # shellcheck disable=SC2013
    for pid in $(cat "/proc/$1/task/$1/children" 2> /dev/null); do
        [ "$(readlink "/proc/$pid/ns/pid")" = "$(readlink /proc/self/ns/pid)" ] || continue
        echo "$pid"
        descendants "$pid"
    done
}

pss_kib() { awk '/^Pss:/ { print $2 }' "/proc/$1/smaps_rollup"; }

stop_gatepost() {
    [ -n "$init" ] || return 0
    kill -TERM "$init" 2> /dev/null
    wait "$init" 2> /dev/null || true
    init=
}

# bare_template: keeps the bundle of gatepost's only container, whose pod has to stay for its namespaces. Once the container
# runs, gatepost replaces the file by a smaller one, so it is linked as soon as it is there.
bare_template() {
    local tries=0
    until ln "$work"/run/containers/*/config.json "$work/run/template.json" 2> /dev/null; do
        tries=$((tries + 1))
        [ "$tries" -lt 20000 ] || die "there is no bundle of gatepost's to take"
    done
    wait_running 1
    cp "$work/run/template.json" "$work/template.json"
    jq -e .linux "$work/template.json" > /dev/null || die "gatepost's bundle was taken too late"
}

# bare_bundle NAME COMMAND: $work/bundles/NAME, the very bundle gatepost makes, on a plain root file system and in a cgroup
# of its own.
bare_bundle() {
    mkdir -p "$work/bundles/$1"
    jq --arg root "$work/bundle/rootfs" --arg cgroup "/$name/bare/$1" --arg command "$2" \
        '.root.path = $root | .linux.cgroupsPath = $cgroup | .process.args[2] = $command' \
        "$work/template.json" > "$work/bundles/$1/config.json"
}

# bare_run NAME: starts that bundle as anybody would.
bare_run() {
    "$runtime" --root "$work/bare" run --detach --bundle "$work/bundles/$1" "$1" < /dev/null > /dev/null 2>> "$work/bare.log"
}

bare_delete() {
    "$runtime" --root "$work/bare" delete --force "$1" > /dev/null 2>&1
}

# median and the longest of the numbers on standard input.
median() { sort -n | awk '{ v[NR] = $1 } END { printf "%10.1f %10.1f\n", v[int((NR + 1) / 2)], v[NR] }'; }

finish() {
    set +e
    rm -f "$disk"
    [ -n "$work" ] || return
    stop_gatepost
    local state
    for state in "$work"/bare/*/; do [ -d "$state" ] && bare_delete "$(basename "$state")"; done
    mountpoint -q "$work/run" && umount -R -l "$work/run"
    find /sys/fs/cgroup -depth -type d \( -path "*/$name/*" -o -name "$name" \) -exec rmdir {} + 2> /dev/null
    umount "$work" || umount -l "$work"
    rm -rf "${work:?}"
}
trap finish EXIT
trap 'exit 130' INT TERM
# An ext4 with a journal, as a gateway's data partition is. One without, where this machine's /var/lib lies on such, looks
# past each inode freed in the last seconds whenever it allocates one: the benches would measure what they deleted before.
# Not below /tmp, which may be a small tmpfs.
disk=$(mktemp -p /var/lib gatepost-bench.XXXXXX)
work=$(mktemp -d -p /var/lib gatepost-bench.XXXXXX)
export GATEPOST_RUN_DIR=$work/run
truncate -s 4G "$disk"
mkfs.ext4 -q -F "$disk"
mount -o loop "$disk" "$work"
rmdir "$work/lost+found"
