"""What can be seen of a run: its transcript, its logs, and one line for the terminal."""
