"""Login: the token of the key in use, renewed once for everybody who met its end; and, when B2 does not know
the key any more, another key in its place.

A key that expired or was revoked is looked for again where it was found: whoever has put a new one there
(into the credentials file, or by `b2 account authorize`) need not mount again. It has to be of the same
account at the same B2, for everything that a mount knows is about that one.

Must not know: what the token is for.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import attrs
import trio
from b2sdk.v3 import B2Session

from b2mount.errors import B2MountError, NotAuthorized
from b2mount.store.b2_errors import needs_new_token, wait_asked_for
from b2mount.store.b2_session import Authorization, authorize, close_account, open_account
from b2mount.store.credentials import Credentials
from b2mount.store.ledger import Ledger
from b2mount.store.pace import Pace
from b2mount.threads import ThreadLane

log = logging.getLogger(__name__)

CALL = "b2_authorize_account"


def _nobody() -> None:
    """Nobody wants to know."""


@attrs.define(eq=False)
class Renewal:
    """One authorization on its way, and who waits for it."""

    done: trio.Event = attrs.field(factory=trio.Event)
    error: Exception | None = None


@attrs.define(eq=False)
class Login:
    """See the module."""

    _session: B2Session
    _credentials: Credentials
    _lane: ThreadLane
    _ledger: Ledger
    _pace: Pace
    _find_again: Callable[[], Credentials] | None = None
    """Looks where the key came from; blocking. Raises NotAuthorized."""
    generation: int = attrs.field(init=False, default=0)
    """How often there was a new token."""
    on_new_key: Callable[[], None] = attrs.field(init=False, default=_nobody)
    """Called when another key has taken the place of the one in use."""
    _authorization: Authorization | None = attrs.field(init=False, default=None)
    _renewal: Renewal | None = attrs.field(init=False, default=None)

    @property
    def authorization(self) -> Authorization:
        """As of the last one. Raises NotAuthorized when there was none."""
        if self._authorization is None:
            raise NotAuthorized("not authorized yet")
        return self._authorization

    async def renew(self, generation: int, patience: float) -> None:
        """Authorize again, once, unless someone did since `generation`; join whoever is at it. Goes out
        within `patience` seconds. Raises NotAuthorized when B2 does not know the key, and what b2sdk
        raises."""
        while self.generation == generation:
            if self._renewal is None:
                return await self._authorize_once(patience)
            renewal = self._renewal
            await renewal.done.wait()
            if renewal.error is not None:
                raise renewal.error
        return None

    async def _authorize_once(self, patience: float) -> None:
        renewal = self._renewal = Renewal()
        try:
            await self._pace.turn(trio.current_time() + patience)
            await self._authorize_with_some_key()
            self.generation += 1
        except Exception as error:
            renewal.error = error
            if (asked := wait_asked_for(error)) is not None:
                self._pace.hold(asked)
            if needs_new_token(error):
                renewal.error = NotAuthorized("B2 does not know this application key, or it was revoked")
            raise renewal.error from error
        finally:
            self._renewal = None
            renewal.done.set()

    async def _authorize_with_some_key(self) -> None:
        try:
            await self._authorize()
        except Exception as error:
            if not needs_new_token(error) or not await self._takes_another_key():
                raise
            await self._authorize()
            self.on_new_key()

    async def _authorize(self) -> None:
        self._ledger.called(CALL)
        self._authorization = await self._lane.run(authorize, self._session, self._credentials)

    async def _takes_another_key(self) -> bool:
        """Whether there is another key by now, and it is of this account."""
        if self._find_again is None or self._authorization is None:
            return False
        try:
            found = await self._lane.run(self._find_again)
        except B2MountError as error:
            log.debug("no other key is there: %s", error)
            return False
        if found == self._credentials or found.realm != self._credentials.realm:
            return False
        self._ledger.called(CALL)
        try:
            account_id = await self._lane.run(_account_of, found)
        except Exception as error:
            if not needs_new_token(error):
                raise
            return False
        if account_id != self._authorization.account.account_id:
            log.warning("the key in %s is of another account: mount that one instead", found.origin)
            return False
        log.info("B2 does not know the key any more; going on with the one in %s", found.origin)
        self._credentials = found
        return True


def _account_of(credentials: Credentials) -> str:
    """Asked in a session of its own: the one in use must never be of another account."""
    session = open_account(credentials, connections=1)
    try:
        return authorize(session, credentials).account.account_id
    finally:
        close_account(session)
