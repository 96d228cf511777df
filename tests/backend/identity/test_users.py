from __future__ import annotations

import threading

import pytest

from fleet_tui.backend.clock import SystemClock
from fleet_tui.backend.errors import AuthFailed, FleetError, InUse, InvalidInput, NotFound, PermissionDenied, WrongState
from fleet_tui.backend.identity import ListUsers, OpenSession, Permission, PutUser, RemoveUser, Role
from fleet_tui.backend.identity.caller import Caller, Peer
from fleet_tui.backend.identity.permissions import CHANGES, ROLES, effective
from fleet_tui.backend.identity.users import Users
from fleet_tui.backend.store import Store

ROOT = Caller(user="root", role=Role.ROOT_ADMIN, uid=0)
ADMIN = Caller(user="ann", role=Role.ADMIN, uid=7)


@pytest.fixture
def users(store: Store) -> Users:
    users = Users(store, SystemClock())
    users.bootstrap(0, "root")
    return users


def test_who_starts_the_daemon_is_its_root_admin_once(users: Users) -> None:
    users.bootstrap(0, "root")
    assert [(user.name, user.role) for user in users.list(ListUsers())] == [("root", Role.ROOT_ADMIN)]


@pytest.mark.parametrize(("name", "expected"), [("Ann.Lee", "ann-lee"), ("9lives", "u5"), ("", "u5"), ("root", "root-5")])
def test_any_name_of_the_system_becomes_a_name_of_ours(users: Users, name: str, expected: str) -> None:
    users.bootstrap(5, name)
    assert users.identify(Peer(5, "")).user == expected


def test_root_of_the_machine_is_nobody_unless_mapped(store: Store) -> None:
    users = Users(store, SystemClock())
    users.bootstrap(1000, "ann")
    with pytest.raises(PermissionDenied) as caught:
        users.identify(Peer(0, ""))
    assert "ask ann" in caught.value.hint


def test_the_last_root_admin_stays(users: Users) -> None:
    for attempt in (PutUser("root", Role.ADMIN), PutUser("root", Role.ROOT_ADMIN, disabled=True)):
        with pytest.raises(WrongState, match="last root-admin"):
            users.put(attempt, ROOT)
    with pytest.raises(WrongState, match="last root-admin"):
        users.remove(RemoveUser("root"), ROOT)


def test_two_root_admins_cannot_remove_each_other_at_once(users: Users) -> None:
    users.put(PutUser("ann", Role.ROOT_ADMIN, uid=7), ROOT)
    gate = threading.Barrier(2)
    refused: list[FleetError] = []

    def remove(name: str) -> None:
        gate.wait(10)
        try:
            users.remove(RemoveUser(name), ROOT)
        except FleetError as refusal:
            refused.append(refusal)

    threads = [threading.Thread(target=remove, args=(name,)) for name in ("root", "ann")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(refused) == 1
    assert len(users.list(ListUsers())) == 1


@pytest.mark.parametrize("name", ["", "Ann", "1st", "a" * 33, "ann lee", "ann\n", "añn", "-ann"])
def test_names_are_those_of_posix(users: Users, name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        users.put(PutUser(name, Role.MONITOR), ROOT)
    assert caught.value.problems[0].field == "name"


def test_one_system_user_is_one_user(users: Users) -> None:
    users.put(PutUser("ann", Role.ADMIN, uid=7), ROOT)
    with pytest.raises(InUse, match="ann"):
        users.put(PutUser("bob", Role.ADMIN, uid=7), ROOT)
    for uid in (-1, 2**32 - 1):
        with pytest.raises(InvalidInput):
            users.put(PutUser("bob", Role.ADMIN, uid=uid), ROOT)


def test_a_new_user_gets_the_uid_of_their_name(users: Users) -> None:
    assert users.put(PutUser("daemon", Role.MONITOR), ROOT).uid == 1
    assert users.put(PutUser("no-such-one", Role.MONITOR), ROOT).uid is None


def test_a_change_keeps_what_it_does_not_name(users: Users) -> None:
    users.put(PutUser("ann", Role.ADMIN, uid=7), ROOT)
    assert users.put(PutUser("ann", Role.OPERATOR), ROOT).uid == 7


@pytest.mark.parametrize("role", [Role.ROOT_ADMIN, Role.ADMIN])
def test_an_admin_rules_over_lower_roles_only(users: Users, role: Role) -> None:
    with pytest.raises(PermissionDenied):
        users.put(PutUser("bob", role, uid=8), ADMIN)
    users.put(PutUser("bob", role, uid=8), ROOT)
    with pytest.raises(PermissionDenied):
        users.put(PutUser("bob", Role.MONITOR), ADMIN)
    with pytest.raises(PermissionDenied):
        users.remove(RemoveUser("bob"), ADMIN)
    assert users.put(PutUser("eve", Role.OPERATOR, uid=9), ADMIN).role is Role.OPERATOR


def test_removing_nobody_is_not_found(users: Users) -> None:
    with pytest.raises(NotFound):
        users.remove(RemoveUser("nobody-here"), ROOT)


def test_a_disabled_user_is_refused_and_told_so(users: Users) -> None:
    users.put(PutUser("ann", Role.ADMIN, uid=7, disabled=True), ROOT)
    with pytest.raises(PermissionDenied, match="disabled"):
        users.identify(Peer(7, ""))


def test_a_session_dies_with_its_user(users: Users) -> None:
    users.put(PutUser("ann", Role.ADMIN, uid=7), ROOT)
    session = users.open_session(OpenSession(), ADMIN)
    assert users.identify(Peer(7, "", session)).session == session
    users.remove(RemoveUser("ann"), ROOT)
    users.put(PutUser("bob", Role.ADMIN, uid=7), ROOT)
    with pytest.raises(AuthFailed):
        users.identify(Peer(7, "", session))


def test_read_only_sticks(users: Users) -> None:
    users.put(PutUser("ann", Role.ADMIN, uid=7), ROOT)
    session = users.open_session(OpenSession(), ADMIN)
    caller = users.identify(Peer(7, "", session))
    assert not caller.read_only
    users.make_read_only(caller)
    assert users.identify(Peer(7, "", session)).read_only
    with pytest.raises(WrongState):
        users.make_read_only(ADMIN)


def test_the_table_of_roles() -> None:
    assert ROLES[Role.ROOT_ADMIN] == frozenset(Permission) - {Permission.AGENT}
    for role in (Role.AUDITOR, Role.MONITOR):
        assert not ROLES[role] & CHANGES
    assert Permission.INSTANCES_DELETE not in ROLES[Role.OPERATOR]
    assert Permission.SETTINGS_READ not in ROLES[Role.MONITOR]
    assert Permission.AUDIT_READ not in ROLES[Role.MONITOR]
    assert effective(Role.ROOT_ADMIN, read_only=True) == ("audit.read", "settings.read", "states.read", "users.read", "vlans.read")
