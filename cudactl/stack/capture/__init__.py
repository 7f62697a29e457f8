"""From what is on a machine to the spec and lock that say it."""
