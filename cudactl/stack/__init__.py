"""What is wanted: spec, catalogue, package indexes, solver, closure, lock, repository writer."""
