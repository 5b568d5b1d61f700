#!/bin/sh
# Wall time and peak memory of importing an image, beside `umoci unpack` of the same image; also with its layers as zstd
# with the largest window that is taken, 8 MiB. Then the same of an image with one layer of 1 GiB, for its peak memory.
# usage: benches/import.sh [OCI-LAYOUT:TAG]      (root; skopeo, umoci, python3, zstd; all rounds are printed, the third counts)
#        GATEPOST=FILE       the binary
#        without an image, one of 7 layers is made: about 70 MB of gzip, 185 MB unpacked
#        LARGE=BYTES         unpacked size of the one large layer (1 GiB); 0: none
set -eu
cd "$(dirname "$0")/.."
gatepost=$(realpath "${GATEPOST:?name the binary, or call make bench}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
image=${1:-}
cat > "$work/run.py" <<'PY'
import json, os, shutil, subprocess, sys
# What a process had in memory before execve(2) counts as its peak (getrusage(2)): so it is started by one that has little.
WATCH = """import posix, sys, time
t = time.monotonic()
p = posix.fork()
if p == 0: posix.execv(sys.argv[1], sys.argv[1:])
_, status, ru = posix.wait4(p, 0)
print(f"{time.monotonic()-t:6.2f} s wall {ru.ru_utime+ru.ru_stime:6.2f} s cpu {ru.ru_maxrss/1024:6.1f} MiB peak", "" if status == 0 else f"FAILED {status}")
"""
def measure(label, argv, fds=None):
    print(f"{label:28} ", end="", flush=True)
    subprocess.run([sys.executable, "-ISE", "-c", WATCH, *argv], **(fds or {}))
work, gatepost, image, large = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
def tool(*argv): subprocess.run(argv, check=True)
def make(name, layers, size, piece):
    """An image of that many layers with files of `piece` bytes, `size` bytes in all; a third of each file does not compress."""
    import random
    layout, chance = f"{work}/{name}", random.Random(name)
    tool("umoci", "init", "--layout", layout); tool("umoci", "new", "--image", f"{layout}:1")
    for n in range(layers):
        os.makedirs(f"{work}/tree/some/where")
        for k in range(max(1, size // layers // piece)):
            with open(f"{work}/tree/some/where/file{k}", "wb") as f:
                for _ in range(piece // 65536): f.write(chance.randbytes(24 << 10) + b"the rest of it is text, %06d....\n" % k * 1170)
        tool("umoci", "insert", "--image", f"{layout}:1", f"{work}/tree", f"/layer{n}")
        shutil.rmtree(f"{work}/tree")
    return f"{layout}:1"
def copies(image, name):
    """The same image in other forms: archives, and a layout with zstd."""
    for kind in ["oci-archive", "docker-archive"]:
        tool("skopeo", "--insecure-policy", "copy", "-q", f"oci:{image}", f"{kind}:{work}/{name}.{kind}:bench.example/image:1")
    layout = os.path.abspath(image.rsplit(":", 1)[0])
    zstd(layout, f"{work}/{name}.zstd")
    blobs = sum(os.path.getsize(f"{layout}/blobs/sha256/{blob}") for blob in os.listdir(f"{layout}/blobs/sha256"))
    return [("layout", layout), ("zstd, 8 MiB", f"{work}/{name}.zstd"), ("oci-archive", f"{work}/{name}.oci-archive"),
            ("docker-archive", f"{work}/{name}.docker-archive")], blobs
def import_(label, archive, number):
    layout = {"run": f"{work}/run", "data": f"{work}/data{number}", "logs": f"{work}/logs"}
    os.makedirs(layout["data"])
    with open(f"{work}/request", "w") as f:
        json.dump({"version": 1, "layout": layout, "command": {"import": {"path": archive, "name": "bench.example/image:1", "remember": False}}}, f)
    report = os.open(f"{work}/report", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    def fd3(): os.dup2(report, 3); os.set_inheritable(3, True)
    measure(label, [gatepost, "image-worker"], {"stdin": open(f"{work}/request"), "preexec_fn": fd3, "close_fds": False})
    subprocess.run(["rm", "-rf", layout["data"]])
def zstd(source, target):
    """A copy of an OCI layout whose layers are zstd with a window of 2^23 bytes."""
    import gzip, hashlib
    os.makedirs(f"{target}/blobs/sha256")
    shutil.copy(f"{source}/oci-layout", target)
    def path(where, digest): return f"{where}/blobs/sha256/" + digest.removeprefix("sha256:")
    def store(data):
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        with open(path(target, digest), "wb") as f: f.write(data)
        return {"digest": digest, "size": len(data)}
    index = json.load(open(f"{source}/index.json"))
    manifest = json.load(open(path(source, index["manifests"][0]["digest"])))
    shutil.copy(path(source, manifest["config"]["digest"]), path(target, manifest["config"]["digest"]))
    for layer in manifest["layers"]:
        # From a pipe, so that the window is not cut to the size of the layer.
        with gzip.open(path(source, layer["digest"])) as tar:
            compress = subprocess.Popen(["zstd", "-q", "-T0", "--long=23", "-c"], stdin=subprocess.PIPE, stdout=open(f"{work}/layer", "wb"))
            shutil.copyfileobj(tar, compress.stdin); compress.stdin.close()
            if compress.wait() != 0: sys.exit("zstd failed")
        with open(f"{work}/layer", "rb") as f: layer.update(store(f.read()))
        layer["mediaType"] = "application/vnd.oci.image.layer.v1.tar+zstd"
    index["manifests"] = [{"mediaType": "application/vnd.oci.image.manifest.v1+json", **store(json.dumps(manifest).encode())}]
    with open(f"{target}/index.json", "w") as f: json.dump(index, f)
def bench(what, image, name):
    forms, blobs = copies(image, name)
    for n in range(1, 4):
        print(f"{what}, {blobs / 1e6:.0f} MB compressed, round {n}", flush=True)
        subprocess.run(["sync"])
        measure("umoci unpack", [shutil.which("umoci"), "unpack", "--image", image, f"{work}/bundle"])
        subprocess.run(["rm", "-rf", f"{work}/bundle"])
        for form, path in forms:
            subprocess.run(["sync"]); import_(f"gatepost ({form})", path, f"{name}{n}")
    for _, path in forms: subprocess.run(["rm", "-rf", path])
measure("nothing (the least there is)", ["/bin/true"])
bench("image", image or make("seven", 7, 185_000_000, 256 << 10), "image")
if large: bench("one large layer", make("large", 1, large, large), "large")
PY
python3 "$work/run.py" "$work" "$gatepost" "$image" "${LARGE:-1073741824}"
