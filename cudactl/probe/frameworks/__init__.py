"""What the frameworks leg runs inside somebody's Python: PyTorch, TensorFlow, known answers.

`running.py` starts the interpreter and passes on what it says; `work.py` runs there, on one
framework through its own small module. The answers come from plain Python integers, so that no
framework is checked with itself.
"""
