"""The vocabulary: messages, responses, runs, errors, events and the seams. Imports nothing else of ours."""
