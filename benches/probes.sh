#!/bin/bash
# CPU time and memory of gatepost's processes while it makes many http and tcp probes, half of each, inside pods' own networks.
# usage: benches/probes.sh [PROBES-A-SECOND] [SECONDS]     (default 1000 30)
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=benches/node.sh
. benches/node.sh

rate=${1:-1000}
seconds=${2:-30}
pods=10
# A container has two probes, each made once a second.
containers=$((rate / 2 / pods))

# probed NAME: a pod with a server, and containers whose probes connect to it.
probed() {
    {
        cat << Y
apiVersion: v1
kind: Pod
metadata: {name: "$1"}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - {name: server, image: bench/busybox:1, imagePullPolicy: Never, command: [/bin/busybox, httpd, -f, -p, "80", -h, /etc]}
Y
        for n in $(seq "$containers"); do
            cat << Y
    - name: c$n
      image: bench/busybox:1
      imagePullPolicy: Never
      command: [/bin/sleep, "1000000"]
      livenessProbe: {httpGet: {port: 80, path: /probed}, periodSeconds: 1, failureThreshold: 1000}
      readinessProbe: {tcpSocket: {port: 80}, periodSeconds: 1}
Y
        done
    } > "$work/.pod"
    mv "$work/.pod" "$work/manifests/$1.yaml"
}

prepare_node
touch "$work/bundle/rootfs/etc/probed"
umoci repack --image "$work/layout:1" "$work/bundle" > "$work/repack.log" 2>&1
"$gatepost" image import --data-dir "$work/data" --name bench/busybox:1 "$work/layout" > "$work/import.log" 2>&1
start_gatepost
for n in $(seq $pods); do probed "pod$n"; done
all=$((containers + 1))
until [ "$("$gatepost" get pods --no-headers 2> /dev/null | awk -v all="$all/$all" '$2 == all' | wc -l)" -eq $pods ]; do
    kill -0 "$init" 2> /dev/null || die "gatepost has ended"
    sleep 5
done
wait_quiet

ticks() { awk '{ print $14 + $15 }' "/proc/$1/stat"; }
sample() { roles | while read -r role pid; do echo "$role $pid $(ticks "$pid")"; done; }
sample > "$work/before"
sleep "$seconds"
sample > "$work/after"

printf '%-28s %10s %10s\n' "$((containers * pods * 2)) probes a second, $((all * pods)) containers" "% of a core" "PSS KiB"
hz=$(getconf CLK_TCK)
paste -d' ' "$work/before" "$work/after" | while read -r role pid t0 _ pid1 t1; do
    [ "$pid" = "$pid1" ] || die "process $role was replaced"
    printf '%-44s %10s %10s\n' "$role" "$(awk "BEGIN { printf \"%.1f\", ($t1 - $t0) * 100 / $hz / $seconds }")" "$(pss_kib "$pid")"
done
echo "attempts that failed: $("$gatepost" get events 2> /dev/null | grep -c Unhealthy || true)"
