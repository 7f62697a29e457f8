#!/bin/sh
# CUDACTL-SIMULATED-LIBRARY: the lab's nvidia-ctk: names its version, configures Docker's runtime.
set -e
case "$*" in
*--version*) echo "NVIDIA Container Toolkit CLI version @VERSION@ (simulated by cudactl's lab)"; exit 0 ;;
"runtime configure"*) ;;
*) echo "nvidia-ctk: simulated by cudactl's lab, does nothing" >&2; exit 1 ;;
esac
runtime=docker file=
for argument; do
    case "$argument" in
    --runtime=*) runtime=${argument#*=} ;;
    --config=*) file=${argument#*=} ;;
    esac
done
[ "$runtime" = docker ] || { echo "nvidia-ctk: only Docker is simulated" >&2; exit 1; }
exec python3 - "${file:-/etc/docker/daemon.json}" <<'PYTHON'
import json, os, sys
path = sys.argv[1]
config = {}
if os.path.exists(path):
    with open(path) as stream:
        config = json.loads(stream.read() or "{}")
config.setdefault("runtimes", {})["nvidia"] = {"args": [], "path": "nvidia-container-runtime"}
os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
with open(path, "w") as stream:
    json.dump(config, stream, indent=4)
PYTHON
