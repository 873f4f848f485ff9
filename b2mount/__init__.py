"""b2mount: a Backblaze B2 bucket as a directory."""

__version__ = "0.1.0"
