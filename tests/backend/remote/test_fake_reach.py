"""Scripted machines answer what they were told to, and break where they were told to."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleet_tui.backend.errors import AuthFailed, TimedOut, Unreachable
from fleet_tui.backend.faults import Faults
from fleet_tui.backend.remote import Answer, Login
from fleet_tui.backend.remote.fake import VOCABULARY, FakeReach, FakeShell, Machine


def reach(faults: str = "") -> FakeReach:
    found = FakeReach(Faults.parse(VOCABULARY, faults))
    found.add(Machine("10.0.0.1", "kvm-01"), Machine("10.0.0.2", "kvm-02"))
    return found


def login(site: FakeReach, address: str = "10.0.0.1") -> Login:
    return Login(address, "root", password="any", host_key=site.machine(address).host_key.text)


def opened(site: FakeReach) -> FakeShell:
    return site.open(login(site))


def test_commands_are_scripted_by_pattern_and_machine() -> None:
    site = reach()
    site.on("uname *", "Linux\n")
    site.on("uname *", Answer(1, "", "not here"), machine="kvm-02")
    site.on("tee *", lambda machine, command, given: Answer(0, f"{machine.name} {command} {given}", ""))
    assert opened(site).run("uname -a").out == "Linux\n"
    assert site.open(login(site, "10.0.0.2")).run("uname -a").exit_code == 1
    assert opened(site).run("tee x", input="y").out == "kvm-01 tee x y"


def test_a_changed_host_key_is_noticed() -> None:
    site = reach()
    before = login(site)
    site.change_key("10.0.0.1", "reinstalled")
    assert site.host_key("10.0.0.1").text != before.host_key
    with pytest.raises(AuthFailed):
        site.open(before)
    site.open(login(site)).close()


def test_faults_come_at_their_point() -> None:
    site = reach("shell:open:kvm-01, after:shell:run:chpasswd*, shell:run:kvm-01:1:timeout")
    with pytest.raises(Unreachable):
        opened(site)
    shell = opened(site)
    with pytest.raises(Unreachable):
        shell.run("chpasswd", input="root:new\n")
    assert site.machine("10.0.0.1").users["root"] == "new", "it was done, and then the link broke"
    with pytest.raises(Unreachable):
        shell.run("true")
    again = site.open(replace(login(site), password="new"))
    with pytest.raises(TimedOut):
        again.run("true")
    assert again.run("true").exit_code == 0
