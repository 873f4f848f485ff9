"""Coverage-guided fuzzing of every border where bytes come in: `python -m tests.fuzz TARGET --minutes 15`.

A target is a function of bytes that raises when a promise is broken. Its seeds run with the ordinary tests;
atheris, which looks for inputs that reach new code, is needed by the command only.
"""
