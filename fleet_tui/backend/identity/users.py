"""Users and their sessions: who a caller is, and the rules for changing it (spec 16.2, 16.3)."""

from __future__ import annotations

import pwd
import re
from datetime import timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from fleet_tui.backend.clock import Clock
from fleet_tui.backend.errors import AuthFailed, InUse, InvalidInput, NotFound, PermissionDenied, Problem, WrongState
from fleet_tui.backend.events.feed import append
from fleet_tui.backend.identity import ListUsers, OpenSession, PutUser, RemoveUser, Role, UserRecord
from fleet_tui.backend.identity.caller import Caller, Peer
from fleet_tui.backend.identity.permissions import may_govern
from fleet_tui.backend.identity.rows import SessionRow, UserRow
from fleet_tui.backend.store import Store, in_turn, new_id
from fleet_tui.backend.text import clean

NAME = re.compile(r"[a-z_][a-z0-9_-]{0,31}\Z")
SESSION_LIFE = timedelta(days=30)
"""A session older than this is forgotten when another one opens; its console opens a new one by itself."""

ACTIVE, DISABLED = "active", "disabled"
_BOOTSTRAP_LOCK = 0x75736572  # "user"


class Users:
    """The people of one site.

    Every rule is checked inside the transaction that changes something, so two admins cannot remove each other.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def bootstrap(self, uid: int, name: str) -> None:
        """Make the operating-system user who starts an embedded daemon its root-admin, unless the uid is known already."""
        with self._store.write() as tx:
            in_turn(tx, _BOOTSTRAP_LOCK)  # daemons of one site that start together make one user
            if tx.scalars(select(UserRow).where(UserRow.uid == uid)).first() is not None:
                return
            wanted = re.sub(r"[^a-z0-9_-]", "-", name.lower())[:32]
            wanted = wanted if NAME.match(wanted) else f"u{uid}"
            if tx.get(UserRow, wanted) is not None:
                wanted = f"{wanted[:20]}-{uid}"
            tx.add(UserRow(name=wanted, role=Role.ROOT_ADMIN.value, uid=uid, display_name="", state=ACTIVE, created_at=self._clock.now()))

    def identify(self, peer: Peer) -> Caller:
        """The user and session behind a connection, as of now: a changed role holds from the next call on.

        Raises :class:`PermissionDenied` for a uid that is nobody here, :class:`AuthFailed` for a session that is
        forgotten or somebody else's.
        """
        with self._store.read() as tx:
            row = tx.scalars(select(UserRow).where(UserRow.uid == peer.uid)).first()
            if row is None:
                raise _unknown(tx, peer.uid)
            if row.state != ACTIVE:
                raise PermissionDenied(f"user {row.name} is disabled on this site", hint=_whom_to_ask(tx, "to enable it again"))
            read_only = peer.read_only
            if peer.session:
                session = tx.get(SessionRow, peer.session)
                if session is None or session.uid != peer.uid or session.user != row.name:
                    raise AuthFailed("fleetd does not know this session", hint="open a new one", session="unknown")
                read_only = read_only or session.read_only
        return Caller(user=row.name, role=Role(row.role), uid=peer.uid, source=peer.source, session=peer.session, read_only=read_only)

    def open_session(self, request: OpenSession, caller: Caller) -> str:
        """Remember a new session and return its id. One asked for over a read-only call is read-only."""
        now = self._clock.now()
        row = SessionRow(
            id=new_id("s", 20), user=caller.user, uid=caller.uid, read_only=request.read_only or caller.read_only,
            terminal=clean(request.terminal, 150), client=clean(request.client, 150), opened_at=now,
        )
        with self._store.write() as tx:
            tx.execute(delete(SessionRow).where(SessionRow.opened_at < now - SESSION_LIFE))
            tx.add(row)
        return row.id

    def make_read_only(self, caller: Caller) -> None:
        """One way: there is no verb that undoes it."""
        with self._store.write() as tx:
            row = tx.get(SessionRow, caller.session) if caller.session else None
            if row is None:
                raise WrongState("this call belongs to no session, so there is nothing to make read-only", hint="open a session first")
            row.read_only = True

    def list(self, request: ListUsers) -> tuple[UserRecord, ...]:
        with self._store.read() as tx:
            rows = tx.scalars(select(UserRow).order_by(UserRow.name).limit(max(1, request.limit)))
            return tuple(_record(row) for row in rows)

    def put(self, request: PutUser, caller: Caller) -> UserRecord:
        """Add a user or change one. Without a uid a new user gets that of the operating-system user of the same name."""
        _check_name(request.name)
        with self._store.write() as tx:
            row = tx.get(UserRow, request.name)
            _check_reach(caller, request.role, row)
            uid = request.uid if request.uid is not None else (row.uid if row else _system_uid(request.name))
            _check_uid(tx, request.name, uid)
            state = DISABLED if request.disabled else ACTIVE
            if row is None:
                row = UserRow(name=request.name, created_at=self._clock.now())
                tx.add(row)
            elif request.role is not Role.ROOT_ADMIN or request.disabled:
                _keep_a_root_admin(tx, row)
            row.role, row.uid, row.state = request.role.value, uid, state
            row.display_name = clean(request.display_name, 150)
            standing = f"{request.role.value}, disabled" if request.disabled else request.role.value
            append(tx, type="user.changed", ref=f"user:{row.name}", text=f"user {row.name} is {standing}", user=caller.user)
            tx.flush()
            return _record(row)

    def remove(self, request: RemoveUser, caller: Caller) -> None:
        with self._store.write() as tx:
            row = tx.get(UserRow, request.name)
            if row is None:
                raise NotFound(f"there is no user {request.name!r}", hint="`fleet user list` shows the users there are")
            _check_reach(caller, Role(row.role), row)
            _keep_a_root_admin(tx, row)
            tx.execute(delete(SessionRow).where(SessionRow.user == row.name))
            tx.delete(row)
            append(tx, type="user.removed", ref=f"user:{row.name}", text=f"user {row.name} was removed", user=caller.user)


def role_of(tx: Session, name: str) -> Role | None:
    """The role a user has now; ``None`` for who is no user here, or not any more, or is disabled."""
    row = tx.get(UserRow, name)
    return Role(row.role) if row is not None and row.state == ACTIVE else None


def _check_name(name: str) -> None:
    if not NAME.match(name):
        rule = "1 to 32 of a-z, 0-9, '_' and '-', beginning with a letter or '_'"
        raise InvalidInput(f"{clean(name, 40)!r} is not a user name", problems=[Problem("name", rule)])


def _check_reach(caller: Caller, role: Role, row: UserRow | None) -> None:
    """Admins rule over lower roles only, both the one given and the one held now."""
    for one in (role, Role(row.role) if row else role):
        if not may_govern(caller.role, one):
            raise PermissionDenied(
                f"{caller.user} is {caller.role.value} and may not change a {one.value}", hint="a root-admin can", needed="root-admin"
            )


def _check_uid(tx: Session, name: str, uid: int | None) -> None:
    if uid is None:
        return
    if not 0 <= uid < 2**32 - 1:
        raise InvalidInput(f"{uid} is not a user id", problems=[Problem("uid", "0 to 4294967294")])
    holder = tx.scalars(select(UserRow).where(UserRow.uid == uid, UserRow.name != name)).first()
    if holder is not None:
        raise InUse(f"uid {uid} belongs to user {holder.name} already", hint="one operating-system user is one user here", users=[holder.name])


def _keep_a_root_admin(tx: Session, row: UserRow) -> None:
    """USR-2. The rows are locked, so that two daemons cannot each take the other's last one."""
    if row.role != Role.ROOT_ADMIN.value or row.state != ACTIVE:
        return
    able = select(UserRow).where(UserRow.role == Role.ROOT_ADMIN.value, UserRow.state == ACTIVE, UserRow.uid.is_not(None))
    others = [one for one in tx.scalars(able.order_by(UserRow.name).with_for_update()) if one.name != row.name]
    if not others:
        raise WrongState(
            f"{row.name} is the last root-admin of this site and cannot be removed, disabled or given a lower role",
            hint="make somebody else root-admin first",
        )


def _unknown(tx: Session, uid: int) -> PermissionDenied:
    return PermissionDenied(
        f"your operating-system user {_system_name(uid)} (uid {uid}) is not a user of this site",
        hint=_whom_to_ask(tx, f"for `fleet user put NAME --role ROLE --uid {uid}`"),
        uid=uid,
    )


def _whom_to_ask(tx: Session, purpose: str) -> str:
    query = select(UserRow.name).where(UserRow.role == Role.ROOT_ADMIN.value, UserRow.state == ACTIVE).order_by(UserRow.name).limit(3)
    names = " or ".join(tx.scalars(query))
    return f"ask {names or 'a root-admin'} {purpose}"


def _system_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return "without a name"


def _system_uid(name: str) -> int | None:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


def _record(row: UserRow) -> UserRecord:
    return UserRecord(
        name=row.name, role=Role(row.role), uid=row.uid, display_name=row.display_name, state=row.state, created_at=row.created_at
    )
