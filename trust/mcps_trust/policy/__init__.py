"""The decisions, as pure functions over the values of `mcps_trust.model`."""
