#!/bin/sh
# Wall and processor time of pulling an image from docker-registry on this machine by plain http: gatepost-fetch, and `skopeo copy` into an
# OCI layout. Both check digests and store the blobs as they are. Rounds take turns, and the best of each counts.
# usage: benches/pull.sh            (root; docker-registry, skopeo, umoci, python3)
#        FETCH=FILE  the binary gatepost-fetch      SIZE=BYTES  of the image, half of which compresses (256 MiB)      ROUNDS=5
set -eu
cd "$(dirname "$0")/.."
fetch=$(realpath "${FETCH:?name the binary gatepost-fetch}")
work=$(mktemp -d)
trap 'kill $(cat "$work/pid") 2>/dev/null || true; rm -rf "$work"' EXIT
cat > "$work/config.yml" <<Y
version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: $work/data}}
http: {addr: '127.0.0.1:5999'}
Y
docker-registry serve "$work/config.yml" >/dev/null 2>&1 &
echo $! > "$work/pid"
cat > "$work/run.py" <<'PY'
import json, os, random, shutil, subprocess, sys, time
work, fetch, size, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
LAYERS = 8
def tool(*argv): subprocess.run(argv, check=True)
def timed(argv, fds):
    begun = time.monotonic()
    pid = os.posix_spawn(argv[0], argv, os.environ, file_actions=fds)
    _, status, ru = os.wait4(pid, 0)
    assert status == 0, (argv, status)
    return time.monotonic() - begun, ru.ru_utime + ru.ru_stime
layout, chance = f"{work}/made", random.Random(1)
tool("umoci", "init", "--layout", layout); tool("umoci", "new", "--image", f"{layout}:1")
for n in range(LAYERS):
    with open(f"{work}/file", "wb") as f:
        for _ in range(size // LAYERS >> 16): f.write(chance.randbytes(32 << 10) + b"text that compresses well enough" * 1024)
    tool("umoci", "insert", "--image", f"{layout}:1", f"{work}/file", f"/layer{n}")
tool("skopeo", "copy", "--quiet", "--dest-tls-verify=false", f"oci:{layout}:1", "docker://127.0.0.1:5999/bench/image:1")
stored = sum(os.path.getsize(f"{layout}/blobs/sha256/{f}") for f in os.listdir(f"{layout}/blobs/sha256"))
def by_skopeo():
    shutil.rmtree(f"{work}/to", ignore_errors=True)
    argv = [shutil.which("skopeo"), "copy", "--quiet", "--src-tls-verify=false", "docker://127.0.0.1:5999/bench/image:1", f"oci:{work}/to:1"]
    return timed(argv, [])
def by_fetch():
    shutil.rmtree(f"{work}/images", ignore_errors=True)
    os.mkdir(f"{work}/images")
    request = dict(version=1, images=f"{work}/images", image="127.0.0.1:5999/bench/image:1", secrets=[], present=[], stall_ms=60000, bandwidth=0,
        endpoints=[dict(url="http://127.0.0.1:5999", upstream=True, skip_verify=False, ca=None, auth=None)])
    with open(f"{work}/request", "w") as f: json.dump(request, f)
    fds = [(os.POSIX_SPAWN_OPEN, 0, f"{work}/request", os.O_RDONLY, 0), (os.POSIX_SPAWN_OPEN, 3, f"{work}/report", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)]
    return timed([fetch, "pull"], fds)
best = {}
for n in range(rounds):
    for name, run in (("gatepost-fetch", by_fetch), ("skopeo copy", by_skopeo)):
        wall, cpu = run()
        print(f"{name:16} {wall:6.2f} s wall {cpu:6.2f} s cpu", flush=True)
        best[name] = min(wall, best.get(name, wall))
ours, theirs = best["gatepost-fetch"], best["skopeo copy"]
print(f"{stored >> 20} MiB in {LAYERS} layers: {stored / ours / 2**20:.0f} MiB/s, skopeo {stored / theirs / 2**20:.0f} MiB/s: {theirs / ours:.2f} times as fast (goal: 0.9)")
PY
python3 "$work/run.py" "$work" "$fetch" "${SIZE:-268435456}" "${ROUNDS:-5}"
