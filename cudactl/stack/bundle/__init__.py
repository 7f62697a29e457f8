"""Repositories that we write: offline bundles, and the lab's mirror."""
