"""The north border: every one of our exceptions has its errno, and nothing else gets through."""

from __future__ import annotations

import contextlib
import errno
import inspect

import pyfuse3
import pytest
import trio

from b2mount import errors
from b2mount.fuse.errno_map import ERRNO, answers_kernel, errno_of

COMMAND_LINE_ONLY = {
    errors.B2MountError,
    errors.UsageError,
    errors.MountPointUnusable,
    errors.FuseMissing,
    errors.UnsentData,
}

EVERY_ERROR = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.B2MountError) and kind not in COMMAND_LINE_ONLY
]


@pytest.mark.parametrize("kind", EVERY_ERROR, ids=lambda kind: kind.__name__)
def test_every_outcome_of_the_file_system_has_a_row(kind: type[errors.B2MountError]) -> None:
    assert kind in ERRNO
    assert errno_of(kind("x")) == ERRNO[kind]
    assert 0 < ERRNO[kind] < 512  # 512..999 would leave the caller hanging for ever


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(errno.ENOSPC, "full"), errno.ENOSPC),
        (OSError("no errno"), errno.EIO),
        (OSError(600, "one of the kernel's own"), errno.EIO),
        (KeyError("a bug"), errno.EIO),
        (MemoryError(), errno.EIO),
    ],
)
def test_others(error: Exception, code: int) -> None:
    assert errno_of(error) == code


@pytest.mark.parametrize("fails", [False, True])
async def test_what_is_written_is_not_in_the_log(fails: bool, caplog: pytest.LogCaptureFixture) -> None:
    async def write(self: object, fh: int, off: int, buf: bytes) -> int:
        if fails:
            raise errors.BadHandle("x")
        return len(buf)

    with caplog.at_level("DEBUG"), contextlib.suppress(pyfuse3.FUSEError):
        await answers_kernel(write)(object(), 7, 0, b"secret")
    assert "write(7, 0, '<6 bytes>')" in caplog.text
    assert "secret" not in caplog.text


async def test_the_boundary_lets_only_fuse_errors_out(expect_warning) -> None:
    @answers_kernel
    async def broken(self: object) -> None:
        raise KeyError("a bug")

    @answers_kernel
    async def absent(self: object) -> None:
        raise errors.NotFound("x")

    with pytest.raises(pyfuse3.FUSEError) as caught:
        await absent(None)
    assert caught.value.errno == errno.ENOENT
    expect_warning("met a bug")
    with pytest.raises(pyfuse3.FUSEError) as caught:
        await broken(None)
    assert caught.value.errno == errno.EIO


async def test_what_can_be_done_about_a_key_is_said_once_for_an_object(
    caplog: pytest.LogCaptureFixture, expect_warning
) -> None:
    expect_warning("has another key")

    @answers_kernel
    async def read(self: object, name: str) -> None:
        raise errors.KeyMissing(f"{name} has another key")

    for name in ("one", "two", "one", "one"):
        with pytest.raises(pyfuse3.FUSEError) as caught:
            await read(None, name)
        assert caught.value.errno == errno.EACCES
    assert caplog.messages == ["one has another key", "two has another key"]


async def test_cancellation_passes() -> None:
    @answers_kernel
    async def waits(self: object) -> None:
        await trio.sleep_forever()

    with trio.move_on_after(0) as scope:
        await waits(None)
    assert scope.cancelled_caught
