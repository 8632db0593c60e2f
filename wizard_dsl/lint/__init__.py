"""Rules about what runs and is probably not meant: one function each, its code in its name; see rules.py."""
