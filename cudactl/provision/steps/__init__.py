"""What each role has to do: one module a role, each a pure function lock × state → step or None."""
