"""What each file operation means, in terms of names, reading and writing."""
