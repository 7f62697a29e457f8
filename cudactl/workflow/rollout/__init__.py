"""Rollouts: a durable queue of hosts, taken a few at a time, each gated by its certificate.

`places` and `journal` keep what happened on disk, `deriving` says what that means, `deciding` says
what comes next (both pure), `controller` does it, `host_run` is the work on one host, and `worker`
is the process which does that work.
"""
