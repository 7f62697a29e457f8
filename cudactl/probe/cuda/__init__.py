"""Vendor libraries as the device parts of legs call them: prototypes, kernels, timing.

Standard library only. Every prototype is held against the vendor's own header by a test that
compiles both.
"""
