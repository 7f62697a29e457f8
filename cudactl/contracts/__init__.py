"""The models that pass between rooms; every arrow of the flow carries one of them.

spec → lock → plan → host or image → evidence → certificate → history.
"""
