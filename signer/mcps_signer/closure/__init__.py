"""Making locks: closures of packages, with every file by its hash and no URL."""
