"""Keys and who holds them: made, encrypted, carried away, and used again to sign."""
