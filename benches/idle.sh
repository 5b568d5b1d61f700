#!/bin/bash
# Context switches and bytes written by gatepost's processes while 10 healthy pods sleep.
# usage: benches/idle.sh [SECONDS]     (default 600)
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=benches/node.sh
. benches/node.sh

seconds=${1:-600}
prepare_node
start_gatepost
for n in $(seq 10); do pod "pod$n" "exec sleep 100000"; done
wait_running 10
wait_quiet

# ROLE PID SWITCHES BYTES-WRITTEN CPU-TICKS a line
sample() {
    local role pid
    roles | while read -r role pid; do
        echo "$role $pid $(awk '/ctxt_switches/ { s += $2 } END { print s }' "/proc/$pid/status")" \
            "$(awk '/^write_bytes/ { print $2 }' "/proc/$pid/io") $(awk '{ print $14 + $15 }' "/proc/$pid/stat")"
    done
}
# A peer for scale: a shell that sleeps a second at a time, as a supervisor that polls would. It is a busy neighbour besides:
# what it makes, renames and removes beside the manifest directory, above it and in /tmp must wake nobody.
( cd "$work" && exec -a poller sh -c 'while :; do sleep 1
    for place in . .. /tmp; do : > "$place/stranger.$$"; mv "$place/stranger.$$" "$place/moved.$$"; rm "$place/moved.$$"; done
done' ) &
poller=$!
poller_switches() { awk '/ctxt_switches/ { s += $2 } END { print s }' "/proc/$poller/status"; }

sample > "$work/before"
poll_before=$(poller_switches)
sleep "$seconds"
poll_after=$(poller_switches)
sample > "$work/after"
kill "$poller"
wait "$poller" 2> /dev/null || true

printf '%-28s %18s %14s %10s\n' "in $seconds s, 10 pods" "context switches" "bytes written" "cpu ticks"
paste -d' ' "$work/before" "$work/after" | while read -r role pid c0 w0 t0 _ pid1 c1 w1 t1; do
    [ "$pid" = "$pid1" ] || die "process $role was replaced"
    printf '%-28s %18s %14s %10s\n' "$role" $((c1 - c0)) $((w1 - w0)) $((t1 - t0))
done
printf '%-28s %18s\n' "a shell that polls each 1 s" $((poll_after - poll_before))
