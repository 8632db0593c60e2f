"""Policies: one file each, with config, node, pure helpers and declaration."""
