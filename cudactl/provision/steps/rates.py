"""Rough rates for the time shown beside a step, from runs over a local network: an estimate."""

FETCH_RATE = 25e6
"""Bytes per second for fetching."""
UNPACK_RATE = 60e6
"""Bytes per second for unpacking."""
PER_PACKAGE_S = 0.15
"""Seconds per package for maintainer scripts."""
PER_ROLE_S = 2.0
"""Seconds for a role that places files."""
