"""``python -m mcps_launcher.cli``: the launcher without its console script."""

from mcps_launcher.cli import main

if __name__ == "__main__":
    main()
