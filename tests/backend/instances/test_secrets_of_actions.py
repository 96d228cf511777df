"""Whatever is done to a list of setup actions, each keeps the secret that it had, and none is ever told or stored in the clear."""

from __future__ import annotations

from dataclasses import asdict, replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fleet_tui.backend.instances import SetupAction
from fleet_tui.backend.instances.profiles import KEPT
from fleet_tui.backend.instances.setup_actions import Seal, checked, comparable, opened, resealed, shown
from fleet_tui.backend.secrets.envelope import Envelope

secrets = st.text("abcdefghijklmnop", min_size=8, max_size=12).map(lambda text: f"secret-{text}")
places = st.integers(0, 30)


class Editing(RuleBasedStateMachine):
    """A form over the stored list: it knows what everybody may see, and sends that back with what a person did."""

    def __init__(self) -> None:
        super().__init__()
        self.seal = Seal(Envelope(b"k" * 32), "t-1")
        self.stored: tuple[SetupAction, ...] = ()
        self.expected: list[str] = []
        """The secret of each, in order."""

    def save(self, form: list[SetupAction]) -> None:
        self.stored = tuple(SetupAction(**asdict(action)) for action in checked(form, self.stored, self.seal))

    def form(self) -> list[SetupAction]:
        return [shown(action) for action in self.stored]

    @rule(secret=secrets, at=places, kind=st.booleans())
    def add(self, secret: str, at: int, kind: bool) -> None:
        if len(self.expected) >= 8:
            return
        at = min(at, len(self.expected))
        fresh = (
            SetupAction("install_db_driver", "d", {"url": "https://example.com/x.jar", "password": secret}) if kind
            else SetupAction("add_env_variables", "e", {"variables": {"API_TOKEN": secret, "A": "b"}})
        )
        form = self.form()
        form.insert(at, fresh)
        self.expected.insert(at, secret)
        self.save(form)

    @precondition(lambda self: self.expected)
    @rule(at=places, to=places)
    def move(self, at: int, to: int) -> None:
        form, at, to = self.form(), at % len(self.expected), to % len(self.expected)
        form.insert(to, form.pop(at))
        self.expected.insert(to, self.expected.pop(at))
        self.save(form)

    @precondition(lambda self: 0 < len(self.expected) < 8)
    @rule(at=places)
    def duplicate(self, at: int) -> None:
        form, at = self.form(), at % len(self.expected)
        form.insert(at + 1, form[at])
        self.expected.insert(at + 1, self.expected[at])
        self.save(form)

    @precondition(lambda self: self.expected)
    @rule(at=places)
    def remove(self, at: int) -> None:
        form, at = self.form(), at % len(self.expected)
        del form[at], self.expected[at]
        self.save(form)

    @precondition(lambda self: self.expected)
    @rule(at=places, secret=secrets)
    def enter_anew(self, at: int, secret: str) -> None:
        form, at = self.form(), at % len(self.expected)
        name, value = ("password", secret) if form[at].kind == "install_db_driver" else ("variables", {"API_TOKEN": secret, "A": "b"})
        form[at] = replace(form[at], parameters={**form[at].parameters, name: value})
        self.expected[at] = secret
        self.save(form)

    @precondition(lambda self: self.expected)
    @rule(at=places)
    def switch(self, at: int) -> None:
        form, at = self.form(), at % len(self.expected)
        form[at] = replace(form[at], enabled=not form[at].enabled, name="renamed")
        self.save(form)

    @rule()
    def save_as_it_is(self) -> None:
        before = comparable([asdict(action) for action in self.stored])
        self.save(self.form())
        assert comparable([asdict(action) for action in self.stored]) == before, "nothing was changed, so nothing differs"

    @rule()
    def clone(self) -> None:
        other = Seal(Envelope(b"k" * 32), "t-2")
        made = resealed(self.stored, self.seal, other)
        assert [self.secret(opened(action, other)) for action in made] == self.expected

    def secret(self, action: SetupAction) -> str:
        return str(action.parameters.get("password") or action.parameters["variables"]["API_TOKEN"])

    @invariant()
    def each_has_its_own(self) -> None:
        assert [self.secret(opened(action, self.seal)) for action in self.stored] == self.expected
        assert len({action.id for action in self.stored}) == len(self.stored)

    @invariant()
    def nobody_is_told(self) -> None:
        assert "secret-" not in repr(self.stored) and "secret-" not in repr(self.form())
        assert all(self.secret(action) == KEPT for action in self.form())


TestEditing = Editing.TestCase
TestEditing.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
