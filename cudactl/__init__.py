"""cudactl makes the NVIDIA stack on a machine right, then proves it."""

__version__ = "0.1.0"
