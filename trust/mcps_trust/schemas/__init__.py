"""JSON schemas of our own formats, for other people's tools; our own reading is stricter."""
