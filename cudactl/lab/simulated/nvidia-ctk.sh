#!/bin/sh
# CUDACTL-SIMULATED-LIBRARY: the lab's nvidia-ctk: names its version, configures Docker's runtime,
# writes a CDI specification that names the installed driver's library.
set -e
case "$*" in
*--version*) echo "NVIDIA Container Toolkit CLI version @VERSION@ (simulated by cudactl's lab)"; exit 0 ;;
"runtime configure"*) ;;
"cdi generate"*)
    output=${NVIDIA_CTK_CDI_OUTPUT_FILE_PATH:-/dev/stdout}
    for argument; do case "$argument" in --output=*) output=${argument#*=} ;; esac; done
    library=$(ls /usr/lib/*/libcuda.so.*.* 2>/dev/null | head -n 1)
    [ -n "$library" ] || { echo "no driver library (simulated by cudactl's lab)" >&2; exit 1; }
    mkdir -p "$(dirname "$output")"
    cat > "$output" <<SPEC
# CUDACTL-SIMULATED-LIBRARY
cdiVersion: 0.5.0
kind: nvidia.com/gpu
containerEdits:
  mounts:
  - {hostPath: $library, containerPath: $library, options: [ro, bind]}
SPEC
    exit 0 ;;
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
