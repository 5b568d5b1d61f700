#!/bin/sh
# Wall time and peak memory of importing an image, beside `umoci unpack` of the same image; also with its layers as zstd
# with the largest window that is taken, 8 MiB.
# usage: benches/import.sh [OCI-LAYOUT:TAG]      (root; skopeo, umoci, python3, zstd; the third of three runs counts)
#        GATEPOST=FILE       the binary; without an image the sample image of node.js is taken
set -eu
cd "$(dirname "$0")/.."
gatepost=$(realpath "${GATEPOST:?name the binary, or call make bench}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
image=${1:-}
if [ -z "$image" ]; then
    image=$work/layout:1
    gzip -dc .build/images/nodejs.tar.gz > "$work/nodejs.tar"
    skopeo --insecure-policy copy -q "docker-archive:$work/nodejs.tar" "oci:$image"
    rm "$work/nodejs.tar"
fi
skopeo --insecure-policy copy -q "oci:$image" "oci-archive:$work/oci.tar:bench.example/image:1"
skopeo --insecure-policy copy -q "oci:$image" "docker-archive:$work/docker.tar:bench.example/image:1"
cat > "$work/run.py" <<'PY'
import gzip, hashlib, json, os, resource, shutil, subprocess, sys, time
def measure(label, argv, fds=None):
    t = time.monotonic(); p = subprocess.Popen(argv, **(fds or {})); _, status, ru = os.wait4(p.pid, 0)
    print(f"{label:24} {time.monotonic()-t:6.2f} s wall {ru.ru_utime+ru.ru_stime:6.2f} s cpu {ru.ru_maxrss/1024:6.1f} MiB peak", "" if status == 0 else f"FAILED {status}", flush=True)
work, gatepost, image = sys.argv[1:4]
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
layout = os.path.abspath(image.rsplit(":", 1)[0])
zstd(layout, f"{work}/zstd")
for n in range(3):
    subprocess.run(["sync"])
    measure("umoci unpack", ["umoci", "unpack", "--image", image, f"{work}/bundle{n}"])
    subprocess.run(["rm", "-rf", f"{work}/bundle{n}"]); subprocess.run(["sync"])
    import_("gatepost (layout)", layout, f"a{n}"); subprocess.run(["sync"])
    import_("gatepost (zstd, 8 MiB)", f"{work}/zstd", f"z{n}"); subprocess.run(["sync"])
    import_("gatepost (oci-archive)", f"{work}/oci.tar", f"b{n}"); subprocess.run(["sync"])
    import_("gatepost (docker-archive)", f"{work}/docker.tar", f"c{n}")
PY
python3 "$work/run.py" "$work" "$gatepost" "$image"
