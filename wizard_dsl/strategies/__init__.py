"""Strategies: nodes with several children, one file each."""
