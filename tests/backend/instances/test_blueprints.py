"""Blueprints: what is exported comes back as it was, on another site too; secrets are never in a file; every refusal says the line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleet_tui.backend.clock import SystemClock
from fleet_tui.backend.errors import InvalidInput, WrongState
from fleet_tui.backend.instances import SetupAction, blueprints, importing, network_fields, template_fields, templates, virtual_networks
from fleet_tui.backend.instances.action_kinds import KINDS
from fleet_tui.backend.instances.profiles import (
    KEPT,
    CreateTemplate,
    CreateVirtualNetwork,
    EditTemplate,
    ImportBlueprint,
    ImportedBlueprint,
    NetworkFinding,
    TemplateRecord,
    VirtualNetworkRecord,
)
from fleet_tui.backend.providers import Providers
from fleet_tui.backend.secrets.envelope import Envelope
from fleet_tui.backend.store import Store, sqlite_url
from fleet_tui.backend.store.migrations.tables import every_table
from fleet_tui.backend.text import SECRET_NAME
from tests.backend.instances.test_templates import GOOD, SECRET, driver, in_clear
from tests.material import private_key, public_key

SEALER = Envelope(b"k" * 32)
CLOCK = SystemClock()


class Named:
    def __init__(self, name: str) -> None:
        self.name = name


PROVIDERS = Providers(Named("local"), Named("fake"))  # type: ignore[arg-type]


def template(store: Store, label: str, values: dict[str, Any], actions: tuple[SetupAction, ...]) -> TemplateRecord:
    with store.write() as tx:
        return templates.describe(tx, templates.create_template(tx, CreateTemplate(label, values, actions), SEALER))


def network(store: Store, label: str, values: dict[str, Any]) -> VirtualNetworkRecord:
    request = CreateVirtualNetwork(label, {"provider": "fake", **values})
    with store.write() as tx:
        return virtual_networks.describe(tx, virtual_networks.create_network(tx, request, PROVIDERS, (), CLOCK.now()))


def take_in(store: Store, text: str, findings: tuple[NetworkFinding, ...] = (), **more: Any) -> ImportedBlueprint:
    request = ImportBlueprint(text, **more)
    blueprint = blueprints.parse(text)
    with store.read() as tx:
        importing.network_values(tx, blueprint, request, PROVIDERS)
    with store.write() as tx:
        return importing.take_in(tx, blueprint, request, PROVIDERS, SEALER, findings, CLOCK.now())


@contextmanager
def another() -> Iterator[Store]:
    """A site of its own."""
    every_table()
    with TemporaryDirectory() as folder:
        store = Store(sqlite_url(Path(folder) / "fleet.db"))
        store.create_all()
        yield store
        store.close()


def as_told(actions: tuple[SetupAction, ...]) -> list[tuple[Any, ...]]:
    return [(a.kind, a.name, dict(a.parameters), a.stage, a.enabled) for a in actions]


# --- round trip ----------------------------------------------------------------------------------------------------

words = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Cf", "Zl", "Zp")), max_size=40).map(str.strip)
labels = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,20}", fullmatch=True).filter(lambda label: not label.startswith("i-"))
names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,12}", fullmatch=True).filter(lambda name: not SECRET_NAME.search(name))
own_tasks = st.lists(st.fixed_dictionaries({"run": words.filter(bool)}, optional={"name": words, "creates": words.filter(bool)}), min_size=1, max_size=4)
actions = st.one_of(
    st.sampled_from(sorted(kind for kind in KINDS if kind not in ("add_ssh_key",))).map(lambda kind: (kind, GOOD[kind])),
    st.tuples(st.just("run_tasks"), st.fixed_dictionaries({"tasks": own_tasks})),
    st.tuples(st.just("run_tasks"), own_tasks.map(lambda tasks: {"tasks": yaml.safe_dump(tasks, allow_unicode=True)})),
    st.tuples(st.just("add_properties"), st.fixed_dictionaries({"properties": st.dictionaries(names, words, min_size=1, max_size=4)})),
    st.tuples(st.just("memory_settings"), st.fixed_dictionaries({"application_mb": st.integers(256, 1048576), "worker_mb": st.integers(0, 1048576)})),
)
stages = st.sampled_from(("before_install", "after_install", "after_startup"))
setup_actions = st.lists(st.builds(lambda kind, name, stage, on: SetupAction(kind[0], name, kind[1], stage, on), actions, words, stages, st.booleans()), max_size=6)
template_values = st.fixed_dictionaries({}, optional={
    "application": st.just("other-app"), "machine_type": st.sampled_from(["m7.large", "small"]), "authorized_keys": st.just(public_key()),
    "ssh_key_pair": st.just("ops key"), "restrict_metadata_access": st.booleans(),
    "runtime_profile_arn": st.just("arn:aws:iam::123456789012:instance-profile/app"),
})
network_values = st.fixed_dictionaries({}, optional={
    "region": st.just("eu-west-1"), "account": words.filter(lambda word: word.isascii() and word.isalnum() and word != "own-hosts"),
    "internet_access": st.sampled_from(["yes", "egress_only"]), "security_groups": st.just(["sg-0a1b2c3d", "sg-0a1b2c3e"]),
    "https_strategy": st.sampled_from(["none", "self_signed", "per_instance"]), "http_mode": st.sampled_from(["redirect", "disabled"]),
    "fleet_directory.mode": st.sampled_from(["central", "each_design"]), "fleet_directory.event_server": labels, "assign_public_ip": st.booleans(),
})


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(labels, template_values, setup_actions, labels, network_values)
def test_what_is_exported_comes_back_as_it_was(
    label: str, values: dict[str, Any], given_actions: list[SetupAction], net_label: str, net_values: dict[str, Any],
) -> None:
    with another() as here, another() as there:
        one, net = template(here, label, values, tuple(given_actions)), network(here, net_label, net_values)
        file = blueprints.write(one, net, "here")
        assert not file.omitted
        came = take_in(there, file.text)
        assert came.template is not None and came.network is not None and not came.missing
        assert as_told(came.template.setup_actions) == as_told(one.setup_actions)
        assert came.template.values == one.values and came.network.values == net.values
        assert blueprints.write(came.template, came.network, "here").text == file.text, "and goes out again as the same file"


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=300))
def test_any_text_is_taken_or_refused_in_words(text: str) -> None:
    try:
        blueprints.parse(text)
    except InvalidInput as refused:
        assert refused.problems and refused.message


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_file_is_taken_or_refused_in_words(data: st.DataObject) -> None:
    text = WHOLE
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        text = text[:at] + data.draw(st.text(max_size=6)) + text[at + data.draw(st.integers(0, 12)):]
    with another() as store:
        try:
            take_in(store, text)
        except InvalidInput as refused:
            assert refused.problems and refused.message


# --- secrets -------------------------------------------------------------------------------------------------------


def test_a_file_has_no_secret_and_says_which_it_left_out(store: Store) -> None:
    one = template(store, "web", {"license_override": SECRET}, (
        driver(), SetupAction("add_ssh_key", "deploy key", {"private_key": private_key()}),
        SetupAction("add_env_variables", "env", {"variables": {"DB_PASSWORD": SECRET, "STAGE": "test"}}),
    ))
    file = blueprints.write(one, None)
    assert SECRET not in file.text and "PRIVATE KEY" not in file.text and KEPT not in file.text
    assert file.omitted == (
        "template: License", "action driver: headers.Authorization", "action driver: password", "action deploy key: private_key",
        "action env: variables.DB_PASSWORD",
    )
    assert all(f"# Not in this file, to be entered after the import: {name}" in file.text for name in file.omitted)


def test_what_lacks_its_secrets_is_taken_in_and_not_provisioned_before_they_are_entered(store: Store) -> None:
    one = template(store, "web", {}, (driver(headers={}), SetupAction("add_ssh_key", "deploy", {"private_key": private_key()}, enabled=False)))
    with another() as there:
        came = take_in(there, blueprints.write(one, None).text)
        assert came.template is not None and came.missing == came.template.lacks == ("password of the action driver",), "one that is off needs nothing"
        net = network(there, "net", {})
        with there.read() as tx:
            refusal = templates.provision_refusal(templates.find_template(tx, "web"), virtual_networks.find_network(tx, net.label))
        assert "lacks password of the action driver" in refusal
        entered = came.template.setup_actions[0]
        with_it = SetupAction(entered.kind, entered.name, {**entered.parameters, "password": SECRET}, entered.stage, True, entered.id)
        with there.write() as tx:
            row = templates.edit_template(tx, EditTemplate("web", 1, {}, (with_it,)), SEALER)
            assert templates.lacks(row) == ()
        assert in_clear(there)[0]["password"] == SECRET


def test_a_replaced_template_keeps_the_secrets_it_has(store: Store) -> None:
    one = template(store, "web", {"license_override": SECRET}, (driver(),))
    text = blueprints.write(one, None).text.replace("https://drivers.example.com/a.zip", "https://drivers.example.com/b.zip")
    with pytest.raises(WrongState, match="there is a template 'web' already"):
        take_in(store, text)
    came = take_in(store, text, replace=True)
    assert came.template is not None and (came.template.version, came.missing, came.template.values["license_override"]) == (2, (), KEPT)
    assert in_clear(store)[0] | {"paths": []} == in_clear(store)[0]
    assert (in_clear(store)[0]["url"], in_clear(store)[0]["password"]) == ("https://drivers.example.com/b.zip", SECRET)


@pytest.mark.parametrize("url", ["https://drivers.example.org/a.zip", "https://drivers.example.com:8443/a.zip", "s3://drivers.example.com/a.zip"])
def test_a_secret_does_not_follow_an_address_to_another_host(store: Store, url: str) -> None:
    """Who writes a blueprint would be sent the site's password at the next provision; who edits the address has to know it."""
    one = template(store, "web", {}, (driver(),))
    text = blueprints.write(one, None).text.replace("https://drivers.example.com/a.zip", url)
    came = take_in(store, text, replace=True)
    assert came.template is not None
    assert came.missing == ("headers.Authorization of the action driver", "password of the action driver")
    assert SECRET not in str([dict(action.parameters) for action in came.template.setup_actions])
    action = template(store, "kept", {}, (driver(),)).setup_actions[0]
    moved = replace(action, parameters={**action.parameters, "url": url})
    with pytest.raises(InvalidInput) as refused, store.write() as tx:
        templates.edit_template(tx, EditTemplate("kept", 1, {}, (moved,)), SEALER)
    assert {problem.field.rpartition(".")[2]: problem.message for problem in refused.value.problems} == {
        "Authorization": "driver: is not on record for that host; enter it", "password": "driver: is not on record for that host; enter it",
    }


# --- refusals ------------------------------------------------------------------------------------------------------

WHOLE = """\
fleet-blueprint: 1
template:
  label: web
  setup_actions:
    - kind: application_port
      name: port
      parameters:
        port: 8081
    - kind: run_tasks
      name: greet
      stage: before_install
      parameters:
        tasks: |
          - run: echo hello
virtual_network:
  label: net
  provider: fake
  https_strategy: none
"""


@pytest.mark.parametrize(("before", "after", "told"), [
    ("port: 8081", "port: 80", "line 8, column 9: port: 80 is outside 1024 to 65535"),
    ("kind: application_port", "kind: levitate", "line 5, column 7: levitate is not a kind"),
    ("stage: before_install", "stage: sometime", "line 11, column 7: 'sometime' is not a stage"),
    ("- run: echo hello", "- rum: echo hello\n            x: 1", "line 13, column 9: greet: line 2, column 3: task 1 has two modules"),
    ("https_strategy: none", "https_strategy: magic", "line 18, column 3: 'magic' is not one of"),
    ("provider: fake", "provider: moon", "line 17, column 3: this site has no provider 'moon'"),
    ("  label: net\n", "", "line 15, column 1: its label is missing"),
    ("provider: fake", "colour: red", "line 17, column 3: there is no field 'colour'"),
    ("virtual_network:", "virtual_net:", "line 15, column 1: 'virtual_net' is not known"),
    ("      name: port\n", "      name: port\n      nmae: x\n", "line 7, column 7: 'nmae' is not known"),
    ("port: 8081", "port: 8081\n        port: 8082", "line 9, column 9: 'port' is there twice"),
    ("label: web", "label: [", "not YAML"),
    ("  label: web", "  label: web\n  license_override: abc", "line 4, column 3: a secret does not belong in a blueprint"),
    ("fleet-blueprint: 1", "fleet-blueprint: 2", "version 2; this program knows version 1"),
    ("fleet-blueprint: 1\n", "", "that is no blueprint"),
])
def test_every_refusal_says_the_line(store: Store, before: str, after: str, told: str) -> None:
    assert before in WHOLE
    with pytest.raises(InvalidInput) as refused:
        take_in(store, WHOLE.replace(before, after, 1))
    assert told in "\n".join([refused.value.message, *(problem.message for problem in refused.value.problems)])
    with store.read() as tx:
        assert templates.list_templates(tx) == () and virtual_networks.list_networks(tx) == (), "both or none"


def test_a_secret_in_an_action_is_refused_with_its_line(store: Store) -> None:
    text = WHOLE.replace("- run: echo hello\n", "- run: echo hello\n    - kind: add_env_variables\n      parameters:\n        variables:\n          API_TOKEN: abc\n")
    with pytest.raises(InvalidInput, match="line 18, column 11: a secret does not belong"):
        take_in(store, text)


def test_what_the_place_lacks_is_refused_with_its_line(store: Store) -> None:
    text = WHOLE.replace("provider: fake", "provider: fake\n  vpc_id: vpc-0a1b2c3d\n  subnet_id: subnet-0a1b2c3d")
    with pytest.raises(InvalidInput, match="line 19, column 3: there is no such subnet"):
        take_in(store, text, findings=(NetworkFinding("subnet_id", "there is no such subnet"),))


def test_labels_can_be_others(store: Store) -> None:
    take_in(store, WHOLE)
    came = take_in(store, WHOLE, template="web-2", network="net-2")
    assert came.template is not None and came.network is not None and (came.template.label, came.network.label) == ("web-2", "net-2")


def test_the_whole_file_takes_what_is_left_out_as_the_defaults(store: Store) -> None:
    came = take_in(store, WHOLE)
    assert came.template is not None and came.network is not None
    assert came.template.values == {**template_fields.defaults(), "label": "web"}
    assert came.network.values == {**network_fields.defaults(), "label": "net", "provider": "fake"}
