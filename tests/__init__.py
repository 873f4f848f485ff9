"""The tests, the benchmarks and the torture."""

import subprocess

subprocess._USE_VFORK = False  # type: ignore[misc]  # the library's documentation says to set it
"""After vfork the whole process stands still until the new program has been read, and with it an emulator
that is one of its threads: a program that is read from a mount of that emulator would wait for itself."""
