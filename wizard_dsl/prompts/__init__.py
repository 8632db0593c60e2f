"""Prompts: sandboxed templates and expressions, prompt files, and which names they use.

Importing this package alone costs nothing; its modules import jinja2.
"""
