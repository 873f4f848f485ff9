"""What exists, under which name and number."""
