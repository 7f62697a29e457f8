"""Disposable hosts, the package mirror and simulated libraries: the demo and tests live on it."""
