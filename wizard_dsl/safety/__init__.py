"""Safety: pure text in, findings out."""
