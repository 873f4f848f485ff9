"""Well-known programs on real mounts: `python -m tests.programs`."""
