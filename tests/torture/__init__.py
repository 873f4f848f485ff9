"""Work that is verified to the last byte, on real mounts that are killed and taken down, on a B2 that fails;
and days of it, to see whether anything grows.

tests/mounted runs a little of it; `python -m tests.torture --minutes 20 [--seed N]` as much as one likes.
"""
