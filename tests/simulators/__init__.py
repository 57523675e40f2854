"""Stand-ins from memory for what tests may not reach: they speak the real protocols."""
