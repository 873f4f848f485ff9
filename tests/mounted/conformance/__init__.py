"""POSIX, operation by operation: the same cases on a local disk and on a mount, and what came of each."""
