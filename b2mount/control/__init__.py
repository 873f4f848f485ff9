"""What another process may ask a running mount, over a unix socket of its own."""
