"""CPython's own tests of what it does with files, their temporary directory on the mount: somebody else's
judgement of a file system. Left out is what needs names that are not UTF-8 and attributes in `trusted`."""

from __future__ import annotations

from tests.programs.ground import Check, Ground

PYTHON = "/usr/bin/python3"
MODULES = ("test_os", "test_posix", "test_shutil", "test_tempfile", "test_fileio", "test_fcntl")
LEFT_OUT = ("test.test_os.Pep383Tests.*", "test_copyxattr_symlinks")


def regression_tests(ground: Ground) -> None:
    ignored = [word for name in LEFT_OUT for word in ("--ignore", name)]
    said = ground.run(PYTHON, "-m", "test", "--tempdir", ground.path, *ignored, *MODULES)
    assert f"All {len(MODULES)} tests OK." in said, said


CHECKS = (
    Check(
        "python-tests",
        regression_tests,
        packages=("python3", "libpython3.11-testsuite"),
        probe=(PYTHON, "-c", "import test.test_os"),
    ),
)
