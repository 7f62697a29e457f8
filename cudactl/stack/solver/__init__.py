"""The solver: wishes × facts → the one stack that answers best, or why there is none.

`wishes` reads the spec, `dimensions` what there is to choose from, `constraints/` what cannot stand
together, `instance` puts it to a SAT solver, `solving` finds the best, `explaining` says why not.
"""
