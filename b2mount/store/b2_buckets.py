"""Buckets: the account's buckets, and which id a bucket's name stands for.

Invariants: a key that is bound to buckets is only ever asked about those; a bucket that was deleted
and made anew under its name is found again.

Must not know: objects.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import attrs

from b2mount.errors import AccessDenied, AlreadyExists, B2MountError, NotFound
from b2mount.store import b2_records
from b2mount.store.b2_client import B2Client
from b2mount.store.b2_errors import is_bucket_gone
from b2mount.store.interface import Account, Bucket

T = TypeVar("T")


@attrs.define(eq=False)
class Buckets:
    """What ObjectStore promises of buckets."""

    _client: B2Client
    _ids: dict[str, str] = attrs.field(init=False, factory=dict)

    @property
    def _account(self) -> Account:
        return self._client.authorization.account

    async def list(self) -> tuple[Bucket, ...]:
        """The buckets that the key can see, by name."""
        if self._account.buckets is None:
            found = await self._ask()
            self._ids = {bucket.name: bucket.bucket_id for bucket in found}
            return found
        return tuple([each for name in self._account.buckets for each in await self._bound(name)])

    async def create(self, name: str) -> Bucket:
        """Make a private bucket. Raises AlreadyExists, BadName."""
        account_id = self._account.account_id

        async def made_by_first_try(refusal: B2MountError) -> Bucket:
            mine = await self._ask(name=name) if isinstance(refusal, AlreadyExists) else ()
            if not mine:
                raise refusal
            return mine[0]

        bucket = await self._client.change(
            "b2_create_bucket",
            lambda s: b2_records.bucket(s.create_bucket(account_id, name, "allPrivate")),
            when_refused=made_by_first_try,
        )
        self._ids[bucket.name] = bucket.bucket_id
        return bucket

    async def delete(self, name: str) -> None:
        """Delete an empty bucket. Raises NotEmpty, NotFound."""
        account_id, bucket_id = self._account.account_id, await self._id(name)

        async def gone_by_first_try(refusal: B2MountError) -> None:
            if not isinstance(refusal, NotFound):
                raise refusal

        await self._client.change(
            "b2_delete_bucket",
            lambda s: s.delete_bucket(account_id, bucket_id),
            when_refused=gone_by_first_try,
        )
        self._ids.pop(name, None)
        self._client.forget_urls(bucket_id)

    async def within(self, name: str, ask: Callable[[str], Awaitable[T]]) -> T:
        """`ask(bucket id)`; once more when the bucket has another id by now. Raises NotFound."""
        try:
            return await ask(await self._id(name))
        except NotFound as error:
            if not is_bucket_gone(error) or self._ids.pop(name, None) is None:
                raise
        return await ask(await self._id(name))

    async def _id(self, name: str) -> str:
        known = self._client.authorization.bucket_ids.get(name) or self._ids.get(name)
        if known is not None:
            return known
        if self._account.buckets is not None:
            raise AccessDenied(f"the application key is not for the bucket {name}")
        for bucket in await self._ask(name=name):
            self._ids[bucket.name] = bucket.bucket_id
        if name not in self._ids:
            raise NotFound(f"no such bucket: {name}")
        return self._ids[name]

    async def _bound(self, name: str) -> tuple[Bucket, ...]:
        """B2 answers a bound key only about a bucket that is named, and only with `listBuckets`;
        without it, the authorization's word must do."""
        bucket_id = self._client.authorization.bucket_ids[name]
        if "listBuckets" not in self._account.capabilities:
            return (Bucket(name, bucket_id, is_public=False),)
        try:
            return await self._ask(bucket_id=bucket_id)
        except (NotFound, AccessDenied):
            return ()  # deleted since the authorization

    async def _ask(self, *, bucket_id: str | None = None, name: str | None = None) -> tuple[Bucket, ...]:
        account_id = self._account.account_id
        return await self._client.call(
            "b2_list_buckets", lambda s: b2_records.buckets(s.list_buckets(account_id, bucket_id, name))
        )
