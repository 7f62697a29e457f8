"""Is it right: evidence and policy to verdicts. Standard library only, pure, Python ≥ 3.8."""
