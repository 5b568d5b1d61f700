#!/bin/bash
# Memory of gatepost's own processes with 1, 10 and 50 pods (PSS, KiB), and processes a pod besides the workload.
# No peer in the same run: what others need was measured before, and stands beside these figures in docs/benchmarks.md.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=benches/node.sh
. benches/node.sh

prepare_node
start_gatepost

counts="${*:-1 10 50}"
printf '%-6s %10s %10s %10s %10s %s\n' pods init supervisor log-writer "sum KiB" "own processes"
made=0
first=''
last=''
for count in $counts; do
    while [ "$made" -lt "$count" ]; do
        made=$((made + 1))
        pod "pod$made" "exec sleep 100000"
    done
    wait_running "$count"
    wait_quiet
    declare -A pss=([init]=0 [supervisor]=0 [log-writer]=0)
    processes=$(descendants "$init" | wc -l)
    while read -r role pid; do pss[$role]=$(pss_kib "$pid"); done < <(roles)
    sum=$((pss[init] + pss[supervisor] + pss[log-writer]))
    printf '%-6s %10s %10s %10s %10s %s\n' "$count" "${pss[init]}" "${pss[supervisor]}" "${pss[log-writer]}" "$sum" "$((processes + 1))"
    [ -n "$first" ] || first="$count $sum"
    last="$count $sum"
done
read -r n0 s0 <<< "$first"
read -r n1 s1 <<< "$last"
if [ "$n1" -gt "$n0" ]; then
    awk -v s=$((s1 - s0)) -v n=$((n1 - n0)) 'BEGIN { printf "slope: %.1f KiB a pod\n", s / n }'
fi
run_kib=$(du -sk "$work/run" | cut -f1)
echo "below /run: $run_kib KiB with $n1 pods, $((run_kib / n1)) a pod"
