"""Stores: keyed bytes for the cache, in memory and on disk."""
