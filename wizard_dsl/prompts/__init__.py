"""Prompts: sandboxed templates and expressions, prompt files, and which names they use.

Importing this package alone costs nothing. jinja2 is imported for a template that has more in it than names, and for
the first expression.
"""
