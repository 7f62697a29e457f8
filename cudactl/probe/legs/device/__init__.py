"""The parts of legs that compute on one GPU, each in a process of its own.

The process sees that GPU only (CUDA_VISIBLE_DEVICES), as device 0; the request holds it as "gpu".
Correctness comes before speed, and what was reached (SMs, bytes) is measured, not assumed.
"""
