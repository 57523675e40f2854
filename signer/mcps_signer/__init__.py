"""The publisher's side: lock, capture, sign, verify oneself, submit."""
