"""What refuses a plan before anything changes: every reason at once, each with what to do.

Pure: lock × state → findings, one module a subject. Nothing here looks at the host itself.
"""
