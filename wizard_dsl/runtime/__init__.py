"""Programs come alive here: one runtime, many runs."""
