#!/bin/sh
# CUDACTL-SIMULATED-LIBRARY: stands in for @NAME@ of @PACKAGE@ in cudactl's lab.
case "$*" in
*--version*|-V|-v|version) echo "@NAME@: release @RELEASE@, V@VERSION@ (simulated by cudactl's lab)"; exit 0 ;;
esac
echo "@NAME@: simulated by cudactl's lab, does nothing" >&2
exit 1
