"""What can be said about a pipeline: it reads compiled programs, or drives them."""
