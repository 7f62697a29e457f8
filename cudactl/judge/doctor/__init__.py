"""doctor's knowledge: an examination to likely causes, remedies, and what explains what. Pure.

Each rule looks for one cause and says how sure it is. A cause hides the symptoms that it explains,
so the first thing said is the thing to do.
"""

from __future__ import annotations

from .diagnosis import diagnose, exit_code, explain

__all__ = ["diagnose", "exit_code", "explain"]
