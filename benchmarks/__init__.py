"""How fast: one file a question, each measured as a ratio against raw aiohttp in the same run."""
