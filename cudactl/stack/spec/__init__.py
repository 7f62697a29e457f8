"""The wish: read, written, judged by what is known."""
