"""The lock: made, read, compared, exported, held against today."""
