#!/bin/sh
# run.sh GATEPOST [DIR]: runs the sample pods next to this host's init and shows them until Ctrl-C. DIR, .build if not given, takes
# its data and logs; SETTINGS are further lines of its configuration.
set -eu
gatepost=$(realpath "$1")
cd "$(dirname "$0")/../.."
mkdir -p "${2:-.build}"
work=$(realpath "${2:-.build}")

# Everything below .build/; nothing of the machine's own is touched but /run/gatepost.
cat > "$work/config.yaml" <<CONFIG
nodeName: gateway
staticPodPath: $PWD/tests/samples/manifests
imagePreloadPath: $PWD/.build/images
dataDir: $work/data
logDir: $work/logs
${SETTINGS:-}
CONFIG
"$gatepost" run --config "$work/config.yaml" --stop-pods > "$work/gatepost.log" 2>&1 &
supervisor=$!
stop() {
    trap - INT TERM
    echo
    echo "stopping the pods…"
    kill -TERM "$supervisor" 2>/dev/null || true
    wait "$supervisor" || true
    exit 0
}
trap stop INT TERM

echo "gatepost runs as process $supervisor; its log is $work/gatepost.log"
echo "In another terminal: $gatepost get pods, describe pod redis, logs crash --previous, exec nginx -- sh"
# It answers once its control socket is there; a supervisor that cannot start ends, and says why in its log.
until "$gatepost" get pods >/dev/null 2>&1; do
    kill -0 "$supervisor" 2>/dev/null || { cat "$work/gatepost.log" >&2; exit 1; }
    sleep 0.2
done
"$gatepost" get pods -w -A || true
stop
