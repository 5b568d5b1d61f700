#!/bin/bash
# A gateway of its own in QEMU, with three pods (mosquitto, nginx, redis): time from init's start to the first container's process at a
# later boot, by the board's own clock, and what init and supervisor take at rest. Nothing is judged: the machine below decides much.
# usage: [ICOUNT=N] benches/gateway.sh [BOARD] [SECONDS]     (default qemu-armv7, 90 s at rest; the image and its agent: make vm-images)
# With ICOUNT the board's clock counts instructions, 2^N ns each, and no longer the time of the machine below: the same figures on a
# busy machine and an idle one. 0 is 1000 million instructions a second, 1 is 500.
set -euo pipefail
cd "$(dirname "$0")/.."
board=${1:-qemu-armv7}
seconds=${2:-90}
image=.build/image/$board
[ -e "$image/agent" ] || { echo "gateway: no image of $board with its agent: make vm-images" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp --sparse=always "$image/disk.img" "$work/disk"
truncate -s 512M "$work/disk"
cat "$image/initramfs" "$image/agent" > "$work/initramfs"

python3 - "$image" "$work" "$seconds" "${ICOUNT:-}" <<'PY'
import json, signal, socket, subprocess, sys, threading, time
image, work, seconds, instructions = sys.argv[1:5]
signal.alarm(1800)
def listen(name):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{work}/{name}")
    listener.listen(1)
    return listener
consoles, ports = listen("console"), listen("agent")
words = open(f"{image}/qemu").read().replace("DISK", f"{work}/disk").split()
if instructions: words += ["-icount", f"shift={instructions},sleep=on"]
line = open(f"{image}/cmdline").read().strip() + " rdinit=/agent/start"
line += " gatepost.staticPodPath=/var/lib/gatepost/manifests"
number = 0
def boot():
    """Plugs it in. Each boot has a QEMU of its own, which knows nothing of the one before."""
    global qemu, port, lines
    qemu = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", *words, "-nodefaults", "-display", "none", "-no-reboot",
        "-chardev", f"socket,id=console,path={work}/console", "-serial", "chardev:console",
        "-chardev", f"socket,id=agent,path={work}/agent", "-device", "virtio-serial-device",
        "-device", "virtserialport,chardev=agent,name=agent",
        "-kernel", f"{image}/kernel", "-initrd", f"{work}/initramfs", "-append", line], stdin=subprocess.DEVNULL)
    screen, port = consoles.accept()[0], ports.accept()[0]
    def drain():
        while screen.recv(4096): pass
    threading.Thread(target=drain, daemon=True).start()
    lines = port.makefile("rb")
    while not lines.readline().rstrip().endswith(b"ready"): pass
def run(command):
    global number
    number += 1
    port.sendall(f"{number} {command}\n".encode())
    output = ""
    while f"{number} done " not in (text := lines.readline().decode()):
        if not text: sys.exit("gateway: the machine went off")
        output += text
    return output
def until(command, satisfied):
    while not satisfied(output := run(command)): time.sleep(0.5)
    return output

running = lambda table: table.count("1/1     Running") == 3
boot()
until("cat /proc/mounts", lambda text: " /var/lib " in text and " /flash " in text)
run("cd /flash/manifests && mkdir -p /var/lib/gatepost/manifests && cp 10-* 30-* 40-* /var/lib/gatepost/manifests/")
until("gatepost get pods 2>&1", running)
port.sendall(b"0 kill -TERM 1\n")
qemu.wait()
boot()
until("gatepost get pods 2>&1", running)
chart = json.loads(run("gatepost boot-chart --json"))
first = chart["firstContainer"]
print(f"{'milliseconds':<34}{'own':>8}{'runtime':>10}{'in all':>9}")
print(f"{'init to the first container':<34}" + "".join(f"{first[key] // 1000:>{width}}"
    for key, width in (("ownMicros", 8), ("runtimeMicros", 10), ("totalMicros", 9))))
for part in chart["parts"]:
    took = (part["endMicros"] - part["beginMicros"]) // 1000
    if took >= 20 and part["beginMicros"] < first["atMicros"] and part["room"] != "kernel":
        print(f"  {part['room'] + ': ' + part['name']:<50}{took:>11}")

# What follows a start has come to rest.
time.sleep(30)
pids = {"init": "1", "supervisor": run("ps | grep '[s]upervise /' | sed 's/^ *//' | cut -d' ' -f1").strip()}
def switches(pid):
    return [int(line.split()[1]) for line in run(f"grep ctxt_switches /proc/{pid}/status").splitlines()]
before = {role: switches(pid) for role, pid in pids.items()}
run(f"sleep {seconds}")
print(f"\n{f'at rest, {seconds} s':<34}{'PSS kB':>8}{'switches, by itself / preempted':>36}")
whole = 0
for role, pid in pids.items():
    after = switches(pid)
    pss = int(run(f"grep ^Pss: /proc/{pid}/smaps_rollup").split()[1])
    whole += pss
    own, preempted = (b - a for a, b in zip(before[role], after))
    print(f"{role:<34}{pss:>8}{f'{own} / {preempted}':>36}")
print(f"{'both':<34}{whole:>8}")
qemu.kill()
qemu.wait()
PY
