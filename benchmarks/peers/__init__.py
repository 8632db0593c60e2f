"""Other projects beside us, in the same rounds: `python -m benchmarks.peers`."""
