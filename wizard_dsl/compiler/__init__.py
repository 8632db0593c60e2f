"""From a typed document to a program, and from a program to living nodes."""
