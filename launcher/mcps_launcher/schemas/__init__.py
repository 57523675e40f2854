"""JSON schemas of what the commands of ``mcps-launch`` print with ``--json``."""
