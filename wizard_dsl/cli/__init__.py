"""The command line: one module a verb; arguments are parsed here, work is done elsewhere."""
