"""One API call: who calls, with which fields. Also the service's parts that calls work on.

Must not know: the HTTP library.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from b2mount.emulator.bucket_state import BucketState
from b2mount.emulator.errors import bad_request, unauthorized
from b2mount.emulator.keys import Key, KeyRing
from b2mount.emulator.records import Bucket, Version


@attrs.frozen
class Service:
    """What every call can reach."""

    state: BucketState
    keys: KeyRing
    recommended_part: int
    minimum_part: int


class Fields:
    """The fields of a request: a JSON object, or a query. null counts as absent.

    Every method raises ApiError 400 for a field of the wrong kind or, without a default, a missing one.
    """

    def __init__(self, document: Mapping[str, Any], *, lenient: bool = False) -> None:
        self._document = {name: value for name, value in document.items() if value is not None}
        self._lenient = lenient

    def __contains__(self, name: str) -> bool:
        return name in self._document

    def text(self, name: str) -> str:
        found = self.optional_text(name)
        if found is None:
            raise bad_request(f"required field {name} is missing")
        return found

    def optional_text(self, name: str) -> str | None:
        found = self._document.get(name)
        if found is None or isinstance(found, str):
            return found
        raise bad_request(f"field {name} must be a string", "bad_json")

    def optional_integer(self, name: str) -> int | None:
        found = self._document.get(name)
        if self._lenient and isinstance(found, str):
            try:
                return int(found)
            except ValueError:
                pass
        if found is None or (isinstance(found, int) and not isinstance(found, bool) and abs(found) < 2**63):
            return found
        raise bad_request(f"field {name} must be a number", "bad_json")

    def integer(self, name: str) -> int:
        found = self.optional_integer(name)
        if found is None:
            raise bad_request(f"required field {name} is missing")
        return found

    def count(self, name: str, default: int, most: int) -> int:
        """How many rows a page has; 0 means the default."""
        found = self.optional_integer(name) or default
        if not 1 <= found <= most:
            raise bad_request(f"{name} must be between 1 and {most}: {found}", "out_of_range")
        return found

    def flag(self, name: str) -> bool:
        found = self._document.get(name, False)
        if self._lenient and found in ("true", "false"):
            return bool(found == "true")
        if not isinstance(found, bool):
            raise bad_request(f"field {name} must be true or false", "bad_json")
        return found

    def optional_object(self, name: str) -> dict[str, Any] | None:
        found = self._document.get(name)
        if found is None or isinstance(found, dict):
            return found
        raise bad_request(f"field {name} must be an object", "bad_json")

    def optional_list(self, name: str) -> list[Any] | None:
        found = self._document.get(name)
        if self._lenient and isinstance(found, str):
            return found.split(",")
        if found is None or isinstance(found, list):
            return found
        raise bad_request(f"field {name} must be a list", "bad_json")

    def texts(self, name: str) -> list[str] | None:
        found = self.optional_list(name)
        if found is None or all(isinstance(item, str) for item in found):
            return found
        raise bad_request(f"field {name} must be a list of strings", "bad_json")

    def info(self, name: str = "fileInfo") -> dict[str, str]:
        """An object of strings, its keys in lower case."""
        found = self.optional_object(name) or {}
        if not all(isinstance(value, str) for value in found.values()):
            raise bad_request(f"values of {name} must be strings", "bad_json")
        return {key.lower(): value for key, value in found.items()}


@attrs.frozen
class Call:
    """A request with a good token, and what its key allows."""

    service: Service
    key: Key
    fields: Fields
    version: int
    base_url: str

    @property
    def state(self) -> BucketState:
        return self.service.state

    def need(self, *capabilities: str) -> None:
        """Raises ApiError 401 unauthorized unless the key has them all."""
        for capability in capabilities:
            if not self.key.may(capability):
                raise unauthorized()

    def check_account(self) -> None:
        """Raises ApiError 400 when the call names another account."""
        account_id = self.fields.text("accountId")
        if account_id != self.service.keys.account_id:
            raise bad_request(f"Invalid accountId: {account_id}")

    def bucket(self, field: str = "bucketId") -> Bucket:
        """The bucket that a field names. Raises ApiError 400, 401 when the key is bound to others."""
        bucket = self.state.buckets.get(self.fields.text(field))
        self.check_bucket(bucket.bucket_id)
        return bucket

    def check_bucket(self, bucket_id: str) -> None:
        if self.key.buckets is not None and bucket_id not in self.key.buckets:
            raise unauthorized()

    def check_name(self, name: str) -> None:
        """Raises ApiError 401 when the key's prefix does not cover the name (or prefix)."""
        if self.key.prefix is not None and not name.startswith(self.key.prefix):
            raise unauthorized()

    def check_version(self, version: Version) -> Version:
        """The same version. Raises ApiError 401 when the key does not reach it."""
        self.check_bucket(version.bucket_id)
        self.check_name(version.name)
        return version

    def version_at(self, field: str = "fileId") -> Version:
        """The version that a field names. Raises ApiError 400, 401, 404."""
        return self.check_version(self.state.files.get(self.fields.text(field)))
