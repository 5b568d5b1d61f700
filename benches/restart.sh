#!/bin/bash
# First restart of a crashed container, and 50 pods' start, beside bare `runc run -d` of the same bundle in the same run.
# usage: benches/restart.sh [CRASHES [PODS [ROUNDS]]]     (default 20 50 3)
#
# Restart: from the last thing the container does (date) to the first thing its next process does (date).
# Bare: from a date on the host, right before `runc run -d`, to the first thing the container does.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=benches/node.sh
. benches/node.sh

crashes=${1:-20} pods=${2:-50} rounds=${3:-3}
cores=$(nproc)
now() { date +%s%N; }
await() { # FILE: until it has a line
    local tries=0
    until [ -s "$1" ]; do
        tries=$((tries + 1))
        [ "$tries" -lt 3000 ] || die "$(basename "$1") was never written"
        sleep 0.02
    done
}
ms() { awk -v a="$1" -v b="$2" 'BEGIN { print (b - a) / 1e6 }'; }

prepare_node
start_gatepost
pod template "/bin/date +%s%N > /out/template.up; exec sleep 100000"
bare_template
await "$work/out/template.up"
# crash NAME: the first time it runs for a second and fails, the second time it stays.
crash() {
    echo "[ -e /out/$1.end ] && { /bin/date +%s%N > /out/$1.again; exec sleep 100000; }; sleep 1; /bin/date +%s%N > /out/$1.end; exit 1"
}
for n in $(seq "$crashes"); do
    pod "pod$n" "$(crash "pod$n")"
    await "$work/out/pod$n.again"
    ms "$(cat "$work/out/pod$n.end")" "$(cat "$work/out/pod$n.again")" >> "$work/restart"
    bare_bundle "bare$n" "$(crash "bare$n")"
    : > "$work/out/bare$n.end"
    begin=$(now)
    bare_run "bare$n" || die "$runtime run fails: $(tail -n 1 "$work/bare.log")"
    end=$(now)
    await "$work/out/bare$n.again"
    ms "$begin" "$(cat "$work/out/bare$n.again")" >> "$work/bare-start"
    ms "$begin" "$end" >> "$work/bare-wall"
    bare_delete "bare$n"
    rm "$work/manifests/pod$n.yaml"
done
printf '%-52s %10s %10s\n' "milliseconds, $crashes times" median longest
printf '%-52s %s\n' "gatepost: crash to next process" "$(median < "$work/restart")"
printf '%-52s %s\n' "$(basename "$runtime") run -d: call to first process" "$(median < "$work/bare-start")"
printf '%-52s %s\n' "$(basename "$runtime") run -d: whole call" "$(median < "$work/bare-wall")"

up() { echo "/bin/date +%s%N > /out/$1.up; exec sleep 100000"; }
mkdir "$work/kept"
jq -r --arg run "$work/run/" '.mounts[].source | select(startswith($run)?)' "$work/template.json" |
    while read -r file; do (cd "$work" && cp -a --parents "${file#"$work/"}" kept); done
for n in $(seq "$pods"); do
    bare_bundle "many$n" "$(up "many$n")"
    # The template's pod is gone by then: each has namespaces of its own, as each pod has, and binds copies of its files.
    jq --arg run "$work/run/" --arg kept "$work/kept/run/" '.linux.namespaces |= map(del(.path))
        | .mounts |= map(if .source then .source |= sub("^" + $run; $kept) else . end)' \
        "$work/bundles/many$n/config.json" > "$work/config.json"
    mv "$work/config.json" "$work/bundles/many$n/config.json"
done
newest() { cat "$work"/out/"$1"*.up | sort -n | tail -n 1; }

export -f bare_run
export runtime work
stop_gatepost
rm -f "$work"/manifests/*
for n in $(seq "$pods"); do pod "pod$n" "$(up "pod$n")"; done
# By turns: what else the machine does meets both alike.
for _ in $(seq "$rounds"); do
    rm -f "$work"/out/*.up
    begin=$(now)
    seq "$pods" | xargs -P "$cores" -I{} bash -c 'bare_run many{}' || die "$runtime run fails: $(tail -n 1 "$work/bare.log")"
    for n in $(seq "$pods"); do await "$work/out/many$n.up"; done
    ms "$begin" "$(newest many)" >> "$work/bare-many"
    for n in $(seq "$pods"); do bare_delete "many$n"; done
    begin=$(now)
    start_gatepost
    for n in $(seq "$pods"); do await "$work/out/pod$n.up"; done
    ms "$begin" "$(newest pod)" >> "$work/many"
    stop_gatepost
done
printf '\n%-52s %10s %10s\n' "milliseconds, $rounds times" median longest
printf '%-52s %s\n' "gatepost: its own start to $pods pods running" "$(median < "$work/many")"
printf '%-52s %s\n' "$pods bare $(basename "$runtime") run -d, $cores at a time" "$(median < "$work/bare-many")"
