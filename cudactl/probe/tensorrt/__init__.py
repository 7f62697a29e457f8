"""A small classifier on TensorRT: built, serialised, deserialised, run, compared, timed.

`classifier.py` holds its numbers and what must come out; `bindings.py` builds and runs it through
the Python bindings of TensorRT 8.6, 10 and 11; `trtexec.py` with NVIDIA's own program where there
are no bindings, from the model that `onnx.py` writes.
"""
