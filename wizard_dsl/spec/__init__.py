"""From text to a typed document: positions, references, layers, schema, diagnostics."""
