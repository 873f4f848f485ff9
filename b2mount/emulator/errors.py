"""The refusals of B2: a status, a code and a message, as they stand in its error bodies."""

from __future__ import annotations


class ApiError(Exception):
    """B2 says no. Reaches the client as status and `{"status", "code", "message"}`."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        retry_after: int | str | None = None,
        injected: bool = False,
    ) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.retry_after = retry_after
        self.injected = injected
        """Made up by a fault: B2 would not bill it."""


class DirectoryInUse(Exception):
    """Another process has its state in this directory."""


def bad_request(message: str, code: str = "bad_request") -> ApiError:
    """400, the client's own fault."""
    return ApiError(400, code, message)


def unauthorized(message: str = "unauthorized") -> ApiError:
    """401: the token is good, but its key may not do this."""
    return ApiError(401, "unauthorized", message)


def access_denied(message: str = "Access Denied") -> ApiError:
    """403: a wrong SSE-C key, or a locked version."""
    return ApiError(403, "access_denied", message)


def not_found(message: str) -> ApiError:
    """404: no such file, version or bucket in a URL."""
    return ApiError(404, "not_found", message)


def no_such_bucket(bucket_id: str) -> ApiError:
    """400: a bucket id that leads nowhere."""
    return bad_request(f"Bucket {bucket_id} does not exist", "bad_bucket_id")


def file_not_present(name: str, file_id: str = "") -> ApiError:
    """400: the pair of name and id is unknown."""
    return bad_request(f"File not present: {name} {file_id}".rstrip(), "file_not_present")
