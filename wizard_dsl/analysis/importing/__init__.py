"""Configurations of other tools as pipeline files: what became of each of their settings is told, none is lost."""
