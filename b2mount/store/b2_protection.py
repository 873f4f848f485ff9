"""ProtectionCalls: retention and legal hold of versions (B2's Object Lock), one request a verb.

Invariants: what a key lacks for a request is said by name, and such a request is not sent; governance is
only bypassed by who asks for less of it, never by a delete.

Must not know: names, which version is meant.
"""

from __future__ import annotations

import attrs
from b2sdk.v3 import FileRetentionSetting, LegalHold
from b2sdk.v3 import RetentionMode as SdkMode

from b2mount.errors import AccessDenied, B2MountError, NotPermitted
from b2mount.model import ObjectVersion, Protection, Retention, RetentionMode
from b2mount.moments import moment_name
from b2mount.store import b2_records
from b2mount.store.b2_client import B2Client


@attrs.define(eq=False)
class ProtectionCalls:
    """What ObjectStore promises of retention and legal hold."""

    _client: B2Client

    async def get(self, version: ObjectVersion) -> Protection:
        """What B2 tells of it. Raises NotFound."""
        self._need("readFiles", "ask for the protection of files")
        return b2_records.protection(await self._client.file_info(version.version_id))

    async def set_retention(self, version: ObjectVersion, retention: Retention | None) -> None:
        """Set it, or remove it. Raises NotPermitted, InvalidArgument, NotSupported."""
        self._need("writeFileRetentions", "set the retention of files")
        setting = FileRetentionSetting(SdkMode.NONE)
        if retention is not None:
            setting = FileRetentionSetting(SdkMode(retention.mode.value), retention.until_ms)
        bypass = self._may("bypassGovernance")
        try:
            await self._client.change(
                "b2_update_file_retention",
                lambda s: s.update_file_retention(version.version_id, version.path.key, setting, bypass),
            )
        except NotPermitted as refusal:
            raise await self._reason(version, refusal) from None

    async def set_legal_hold(self, version: ObjectVersion, *, on: bool) -> None:
        """Set it on or off. Raises NotSupported."""
        self._need("writeFileLegalHolds", "set the legal hold of files")
        hold = LegalHold.ON if on else LegalHold.OFF
        await self._client.change(
            "b2_update_file_legal_hold",
            lambda s: s.update_file_legal_hold(version.version_id, version.path.key, hold),
        )

    async def _reason(self, version: ObjectVersion, refusal: B2MountError) -> B2MountError:
        """Why B2 does not let the retention become less, which it does not tell."""
        try:
            retention = (await self.get(version)).retention
        except B2MountError:
            return refusal
        if retention is None:
            return refusal
        until = f"{retention.mode.value} retention until {moment_name(retention.until_ms)}"
        if retention.mode is RetentionMode.COMPLIANCE:
            return NotPermitted(f"{version.path} is under {until}: nobody can make that less")
        if self._may("bypassGovernance"):
            return refusal
        return AccessDenied(
            f"{version.path} is under {until}: "
            "the application key may not make that less (no bypassGovernance)"
        )

    def _may(self, capability: str) -> bool:
        return capability in self._client.authorization.account.capabilities

    def _need(self, capability: str, what: str) -> None:
        if not self._may(capability):
            raise AccessDenied(f"the application key may not {what} (no {capability})")
