#!/usr/bin/env bash
# The main job, end to end, on two disposable hosts: lock, plan, provision, certify, and again.
# Called by `make demo`; may be run again at any time: it starts with fresh hosts each time.
set -euo pipefail
cd "$(dirname "$0")/.."

demo=$PWD/.demo
mkdir -p "$demo"
export CUDACTL_LAB_DIR=$demo/lab
export PATH=$PWD/.venv/bin:$PATH
export PYTHONUNBUFFERED=1
start=$SECONDS

if [ -t 1 ]; then bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'; else bold= dim= plain=; fi
chapter() { printf '\n%s── %s%s  %s(%d s)%s\n' "$bold" "$1" "$plain" "$dim" $((SECONDS - start)) "$plain"; }
# Show a command as a user would type it, then run it.
try() { printf '%s$ %s%s\n' "$bold" "$*" "$plain"; "$@"; }

chapter "Two disposable hosts and a package mirror"
cudactl lab down >/dev/null 2>&1 || true
try cudactl lab up ubuntu-24.04:demo-apt debian-12:demo-wheels
inventory=$(cudactl lab status --json | python -c 'import json,sys; print(json.load(sys.stdin)["inventory"])')
mirror=$(cudactl lab status --json | python -c 'import json,sys; print(json.load(sys.stdin)["mirror"]["url"])')
key=$(cudactl lab status --json | python -c 'import json,sys; print(json.load(sys.stdin)["mirror"]["key"])')

chapter "Two wishes"
cat >"$demo/apt.yaml" <<YAML
# NVIDIA's apt packages, here from the lab's mirror (without "mirror:", from NVIDIA itself).
os: ubuntu-24.04
driver: {branch: "580"}
cuda: "13.0"
cudnn: "9"
tensorrt: "10.13"
container_toolkit: "1"
mirror:
  url: $mirror
  key: $key
YAML
cat >"$demo/wheels.yaml" <<'YAML'
# The same libraries as NVIDIA publishes them as Python wheels: real ones, side by side under /opt.
os: debian-12
packages: wheels
driver: {branch: none}
cuda: "13.0"
cudnn: "9"
tensorrt_rtx: "1.7"
YAML
try cat "$demo/apt.yaml"
try cat "$demo/wheels.yaml"

chapter "Two locks: every package, exactly"
try cudactl stack lock "$demo/apt.yaml" -o "$demo/apt.lock"
try cudactl stack lock "$demo/wheels.yaml" -o "$demo/wheels.lock"

chapter "The plan, before anything changes"
try cudactl plan host demo-apt -i "$inventory" --lock "$demo/apt.lock" -o "$demo/apt.plan"

chapter "Provision from the mirror, exactly as planned, and certify"
try cudactl provision host --plan "$demo/apt.plan" --yes

chapter "Provision real NVIDIA wheels; real nvcc compiles against real cuBLAS and cuDNN"
try cudactl provision host demo-wheels -i "$inventory" --lock "$demo/wheels.lock" --yes

chapter "Again: there is nothing to do"
try cudactl provision host demo-apt -i "$inventory" --lock "$demo/apt.lock" --yes
try cudactl provision host demo-wheels -i "$inventory" --lock "$demo/wheels.lock" --yes

chapter "What the two certificates may claim"
for pair in apt:simulated wheels:linkage; do
  name=${pair%%:*} level=${pair#*:}
  cudactl certify host "demo-$name" -i "$inventory" --lock "$demo/$name.lock" --json >"$demo/$name.certificate.json"
  python - "$demo/$name.certificate.json" "$level" <<'PY'
import json, sys
document = json.load(open(sys.argv[1]))
certificate = document[0] if isinstance(document, list) else document
certificate = certificate.get("certificate", certificate)
level, verdict = certificate["level"], certificate["verdict"]
print(f"{certificate['host']}: {verdict}, level {level}. {certificate['level_reason']}")
if (verdict, level) != ("PASS", sys.argv[2]):
    sys.exit(f"the demo expected PASS at level {sys.argv[2]}")
PY
done

chapter "Done"
cat <<TEXT
On a real GPU host, the same in four lines:
  cudactl stack lock stack.yaml            # os, driver, cuda, cudnn, tensorrt: what you want
  cudactl plan host ubuntu@gpu-01          # what would change, and why; changes nothing
  cudactl provision host ubuntu@gpu-01     # shows the plan, asks, applies it, certifies
  cudactl certify host ubuntu@gpu-01       # any time later; changes nothing
The lab's hosts are still there:  CUDACTL_LAB_DIR=$CUDACTL_LAB_DIR $PWD/.venv/bin/cudactl lab ssh demo-apt
Remove them:                      CUDACTL_LAB_DIR=$CUDACTL_LAB_DIR $PWD/.venv/bin/cudactl lab down
TEXT
