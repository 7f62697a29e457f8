#!/bin/bash
# CUDACTL-SIMULATED-LIBRARY: the lab's nvcc. It compiles with the host's C++ compiler against the
# simulated headers and links for real, so a missing library or header fails as it should.
# Kernel launches cannot be compiled and no device code is made.
here=$(dirname "$(readlink -f "$0")")
root=$(dirname "$here")
target=$root/targets/@TARGET@
architectures="@ARCHITECTURES@"

fatal() { echo "nvcc fatal   : $*" >&2; exit 1; }

show_version() {
    echo "nvcc: NVIDIA (R) Cuda compiler driver (simulated by cudactl's lab)"
    echo "Cuda compilation tools, release @RELEASE@, V@VERSION@"
    exit 0
}

list() { for each in $architectures; do echo "$1_$each"; done; exit 0; }

check_architectures() {
    local name number
    for name in $(printf '%s' "$1" | grep -oE '(sm|compute|lto)_[0-9]+[af]?'); do
        number=${name#*_}; number=${number%[af]}
        case " $architectures " in
        *" $number "*) ;;
        *) fatal "Unsupported gpu architecture '$(printf '%s' "$name" | sed 's/^sm_/compute_/')'" ;;
        esac
    done
}

compiler=g++ cudart=static compile_only=no inputs=() options=() libraries=()
while [ $# -gt 0 ]; do
    case "$1" in
    --version|-V) show_version ;;
    --list-gpu-arch|-arch-ls) list compute ;;
    --list-gpu-code|-code-ls) list sm ;;
    -gencode|--generate-code|-arch|--gpu-architecture|-code|--gpu-code) check_architectures "$2"; shift ;;
    -gencode=*|--generate-code=*|-arch=*|--gpu-architecture=*|-code=*|--gpu-code=*) check_architectures "$1" ;;
    -ccbin|--compiler-bindir) compiler=$2; shift ;;
    -ccbin=*|--compiler-bindir=*) compiler=${1#*=} ;;
    -cudart|--cudart) cudart=$2; shift ;;
    -cudart=*|--cudart=*) cudart=${1#*=} ;;
    -Xcompiler|--compiler-options) IFS=, read -ra more <<<"$2"; options+=("${more[@]}"); shift ;;
    -Xcompiler=*|--compiler-options=*) IFS=, read -ra more <<<"${1#*=}"; options+=("${more[@]}") ;;
    -Xlinker|--linker-options) libraries+=("-Wl,$2"); shift ;;
    -Xlinker=*|--linker-options=*) libraries+=("-Wl,${1#*=}") ;;
    -Xptxas|-Xcudafe|-Xnvlink|-Xfatbin|-Xarchive|-maxrregcount|-t|--threads|-diag-suppress|-Werror|-x|--x)
        shift ;;
    -Xptxas=*|-Xcudafe=*|-Xnvlink=*|-maxrregcount=*|--threads=*|-diag-suppress=*|-Werror=*|-rdc=*) ;;
    --relocatable-device-code=*|--expt-*|-expt-*|--use_fast_math|-use_fast_math|-lineinfo) ;;
    --extended-lambda|-extended-lambda|-G|--device-debug|-m64|--default-stream*|-forward-unknown*) ;;
    --forward-unknown*) ;;
    -dc|-c|--compile|--device-c) compile_only=yes ;;
    -ptx|--ptx|-cubin|--cubin|-fatbin|--fatbin|-dlink) fatal "$1: no device code in cudactl's lab" ;;
    -o|--output-file) options+=(-o "$2"); shift ;;
    -I|-L|-D|-U|-include|-isystem) options+=("$1" "$2"); shift ;;
    -l|--library) libraries+=("-l$2"); shift ;;
    -l*|-Wl,*) libraries+=("$1") ;;
    *.cu) inputs+=(-x c++ "$1" -x none) ;;
    *.c|*.cc|*.cpp|*.cxx|*.o|*.a|*.so|*.so.*) inputs+=("$1") ;;
    *) options+=("$1") ;;
    esac
    shift
done
[ ${#inputs[@]} -gt 0 ] || fatal "No input files specified; use option --help for more information"
for ((i = 0; i < ${#inputs[@]}; i++)); do
    case "${inputs[i]}" in
    -x|c++|none) ;;
    *) [ -e "${inputs[i]}" ] || fatal "Don't know what to do with '${inputs[i]}'" ;;
    esac
done
[ -f "$target/include/cuda_runtime.h" ] && options+=(-include "$target/include/cuda_runtime.h")
if [ "$compile_only" = yes ]; then
    exec "$compiler" -c -I"$target/include" "${options[@]}" "${inputs[@]}"
fi
case "$cudart" in
static) libraries+=(-lcudart_static) ;;
shared) libraries+=(-lcudart) ;;
none) ;;
*) fatal "Value '$cudart' is not defined for option 'cudart'" ;;
esac
exec "$compiler" -I"$target/include" "${options[@]}" "${inputs[@]}" \
    -L"$target/lib/stubs" -L"$target/lib" "${libraries[@]}"
