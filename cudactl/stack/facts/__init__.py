"""What is known: rows, tables, overlays, their lint, and how they are refreshed."""
