"""What the registry remembers: a database, from which all published files derive."""
