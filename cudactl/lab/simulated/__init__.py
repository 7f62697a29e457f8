"""Tiny real shared objects that stand in for NVIDIA's libraries in the lab, and mark themselves.

C sources, headers and scripts are data of this package; `build.py` turns them into libraries.
"""
