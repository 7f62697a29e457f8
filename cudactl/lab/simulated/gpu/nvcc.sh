#!/bin/bash
# CUDACTL-SIMULATED-LIBRARY: an nvcc for simulated GPUs. It compiles with the host's C++ compiler and
# links for real; kernels run on the processor. Its conf lies beside the libraries, in ../lib.
# Faults: nvcc.architecture (it knows none), nvcc.crash, nvcc.headers (they are not there).
here=$(dirname "$(readlink -f "$0")")
conf=$here/../lib/simulated-gpu.conf

fault() { grep -qE "^fault\.$1 [^0]" "$conf"; }

arguments=()
while [ $# -gt 0 ]; do
    case "$1" in
    --version) echo "Cuda compilation tools, release 13.0, V13.0.88"; exit 0 ;;
    -gencode)
        if fault nvcc.architecture; then
            name=${2##*code=}
            echo "nvcc fatal   : Unsupported gpu architecture 'compute_${name#*_}'" >&2
            exit 1
        fi
        shift ;;
    --cudart) shift ;;
    -Xlinker) arguments+=("-Wl,$2"); shift ;;
    *.cu) arguments+=(-x c++ "$1" -x none) ;;
    *) arguments+=("$1") ;;
    esac
    shift
done
if fault nvcc.crash; then
    echo "nvcc error   : 'cudafe++' died due to signal 11 (Invalid memory reference)" >&2
    exit 139
fi
fault nvcc.headers || arguments+=("-I$here/../include")
exec g++ "${arguments[@]}"
