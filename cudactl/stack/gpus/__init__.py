"""GPUs: found by name, listed, compared, chosen; which stacks they run."""
