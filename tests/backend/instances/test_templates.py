"""Templates: every kind of action checked, secrets sealed and never told, what an edit has wait and why, who is refused what."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from fleet_tui.backend.clock import SystemClock
from fleet_tui.backend.errors import ConfirmationRequired, InUse, InvalidInput, WrongState
from fleet_tui.backend.instances import CreateInstance, EditInstance, SetupAction, templates
from fleet_tui.backend.instances import settings as saved
from fleet_tui.backend.instances.action_kinds import KINDS
from fleet_tui.backend.instances.links import TEMPLATE_COPY, template_copy
from fleet_tui.backend.instances.profiles import KEPT, CloneTemplate, CreateTemplate, DeleteTemplate, EditTemplate, RenderTemplate, TemplateRecord
from fleet_tui.backend.instances.rendering import render
from fleet_tui.backend.instances.rows import TemplateRow
from fleet_tui.backend.instances.setup_actions import Seal, opened
from fleet_tui.backend.instances.virtual_networks import ensure_network
from fleet_tui.backend.secrets.envelope import Envelope
from fleet_tui.backend.store import Store
from tests.material import authority, certificate, private_key, public_key

SEALER = Envelope(b"k" * 32)
CLOCK = SystemClock()
SECRET = "hunter2-and-some-more"


@pytest.fixture
def site(store: Store) -> Store:
    with store.write() as tx:
        ensure_network(tx, "local", "local", "none")
        ensure_network(tx, "cloud", "fake", "none")
    return store


def create(store: Store, label: str = "web", *actions: SetupAction, **values: Any) -> TemplateRecord:
    with store.write() as tx:
        return templates.describe(tx, templates.create_template(tx, CreateTemplate(label, values, actions), SEALER))


def edit(store: Store, record: TemplateRecord, *, actions: tuple[SetupAction, ...] | None = None, **changes: Any) -> TemplateRecord:
    with store.write() as tx:
        row = templates.edit_template(tx, EditTemplate(record.label, record.version, changes, actions), SEALER)
        return templates.describe(tx, row)


def show(store: Store, target: str = "web") -> TemplateRecord:
    with store.read() as tx:
        return templates.show_template(tx, target).record


def dump(store: Store) -> str:
    with store.read() as tx:
        return json.dumps([str(tuple(row)) for row in tx.execute(select(TemplateRow.__table__))])


def in_clear(store: Store, label: str = "web") -> list[dict[str, Any]]:
    """Parameters of its actions as the agent is given them."""
    with store.read() as tx:
        row = templates.find_template(tx, label)
        return [dict(opened(action, Seal(SEALER, row.id)).parameters) for action in templates.actions_of(row)]


def provision(store: Store, label: str, template: str = "web", network: str = "cloud") -> None:
    """An instance that runs with the template as it is now."""
    with store.write() as tx:
        row = saved.create(tx, CreateInstance(label=label, template=template, network=network), CLOCK)
        copy = template_copy(templates.find_template(tx, template))
        row.applied, row.disk_made, row.state = {**row.settings, TEMPLATE_COPY: copy}, True, "running"


def driver(**more: Any) -> SetupAction:
    given = {"database": "oracle", "url": "https://drivers.example.com/a.zip", "password": SECRET, "headers": {"Authorization": f"Bearer {SECRET}"}}
    return SetupAction("install_db_driver", "driver", {**given, **more})


GOOD: dict[str, dict[str, Any]] = {
    "install_packages": {"packages": ["nginx", "libssl3=3.0.11-1~deb12u2"]},
    "run_tasks": {"tasks": "- name: greet\n  run: echo hello\n"},
    "add_authorized_key": {"key": public_key()},
    "add_ssh_key": {"private_key": private_key()},
    "add_ca_to_truststore": {"certificates": authority()},
    "add_env_variables": {"variables": {"STAGE": "production"}},
    "add_properties": {"properties": {"http.pool": "8"}},
    "setup_proxy": {"host": "proxy.internal", "port": 3128},
    "install_db_driver": {"database": "mysql", "url": "https://example.com/mysql.jar"},
    "advanced_security": {}, "secure_cookies": {}, "application_port": {"port": 8081}, "graphics_export": {}, "memory_settings": {},
    "code_env_preset": {"name": "science", "packages": ["pandas==2.2", "numpy"]},
}


def test_every_kind_of_the_specification_is_here_and_takes_what_it_says(site: Store) -> None:
    assert GOOD.keys() == KINDS.keys()
    record = create(site, "web", *(SetupAction(kind, "", parameters) for kind, parameters in GOOD.items()))
    assert [action.kind for action in record.setup_actions] == list(GOOD)
    assert all(action.id and action.name for action in record.setup_actions)
    assert record.setup_actions[9].parameters == {"basic_headers": True, "hsts": False}, "defaults are on record"


BAD = [
    ("install_packages", {"packages": ["ok", "--purge"]}, "packages", "name of a package"),
    ("install_packages", {"packages": []}, "packages", "needed"),
    ("run_tasks", {"tasks": "- run: [oops"}, "tasks", "line 1, column"),
    ("run_tasks", {"tasks": "- run: a\n- name: b\n  run: c\n  rum: d\n"}, "tasks", "line 4, column 3: task 2 has an unknown key 'rum'"),
    ("run_tasks", {"tasks": "- name: x\n"}, "tasks", "line 1, column 3: task 1 has no `run` and no module"),
    ("run_tasks", {"tasks": "- hosts: all\n  tasks: []\n"}, "tasks", "is a play"),
    ("run_tasks", {"tasks": "- a: &x [1]\n- b: *x\n"}, "tasks", "line 2, column 6: an alias"),
    ("run_tasks", {"tasks": "- copy: {content: !vault x, dest: /y}\n"}, "tasks", "line 1, column 19: the tag '!vault'"),
    ("run_tasks", {"tasks": "- shell: a\n  shell: b\n"}, "tasks", "line 2, column 3: 'shell' is there twice"),
    ("run_tasks", {"tasks": "- include_tasks: more.yml\n"}, "tasks", "takes tasks from a file"),
    ("run_tasks", {"tasks": "- run: " + "x" * (256 * 1024)}, "tasks", "256 KiB"),
    ("run_tasks", {"tasks": "x"}, "tasks", "a list of tasks"),
    ("add_authorized_key", {"key": "ssh-ed25519 " + "A" * 68}, "key", "no SSH public key that can be read"),
    ("add_authorized_key", {"key": private_key()}, "key", "private key"),
    ("add_ssh_key", {"private_key": public_key()}, "private_key", "public key"),
    ("add_ssh_key", {"private_key": private_key(passphrase="x")}, "private_key", "passphrase"),
    ("add_ssh_key", {"private_key": private_key().replace("b3BlbnNzaC1rZXk", "b3BlbnNzaC1rZXX")}, "private_key", "no private key that can be read"),
    ("add_ssh_key", {"private_key": private_key(), "file": "../x"}, "file", "name of a file"),
    ("add_ca_to_truststore", {"certificates": authority(until=datetime.now(UTC) - timedelta(days=1))}, "certificates", "expired on"),
    ("add_ca_to_truststore", {"certificates": authority() + certificate()}, "certificates", "certificate 2 (CN=leaf) is not of a CA"),
    ("add_ca_to_truststore", {"certificates": "-----BEGIN CERTIFICATE-----\nx\n"}, "certificates", "was not copied whole"),
    ("add_env_variables", {"variables": "A=1\nA=2\n"}, "variables", "line 2: A is there twice"),
    ("add_env_variables", {"variables": {"A B": "x"}}, "variables", "not a name"),
    ("add_properties", {"properties": {"a": "x\ny"}}, "properties", "one line"),
    ("setup_proxy", {"host": "p", "port": 0}, "port", "1 to 65535"),
    ("install_db_driver", {"url": "https://joe:pw@example.com/x.jar"}, "url", "credentials do not belong"),
    ("install_db_driver", {"url": "ftp://example.com/x.jar"}, "url", "https://, s3://"),
    ("install_db_driver", {"url": "https://e.com/x.zip", "paths": ["../../etc"]}, "paths", "outside"),
    ("application_port", {"port": 80}, "port", "1024"),
    ("memory_settings", {"application_mb": 1}, "application_mb", "256"),
    ("code_env_preset", {"name": "x", "packages": ["a; rm -rf /"]}, "packages", "as pip takes it"),
    ("secure_cookies", {"enabled": "perhaps"}, "enabled", "neither yes nor no"),
    ("secure_cookies", {"enabld": True}, "enabld", "no field"),
]


@pytest.mark.parametrize(("kind", "parameters", "field", "told"), BAD)
def test_what_is_wrong_with_an_action_is_told_beside_its_field(site: Store, kind: str, parameters: dict[str, Any], field: str, told: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        create(site, "web", SetupAction("advanced_security", "fine", {}), SetupAction(kind, "mine", parameters))
    (problem,) = refused.value.problems
    assert problem.field == f"setup_actions.2.{field}" and told in problem.message, problem
    assert problem.message.startswith("mine: ")
    with site.read() as tx:
        assert not list(tx.scalars(select(TemplateRow)))


def test_everything_wrong_is_told_at_once(site: Store) -> None:
    actions = (SetupAction("levitate", "x", {}), SetupAction("application_port", "p", {"port": 1}), SetupAction("run_tasks", "r", {"tasks": ""}, "later"))
    with pytest.raises(InvalidInput) as refused:
        create(site, "b@d", *actions, startup_profile_arn="arn:aws:iam::1:role/x", api_key_id="x" * 20)
    with pytest.raises(InvalidInput, match="what ids look like"):
        create(site, "t-0123bcdf")
    assert {problem.field for problem in refused.value.problems} == {
        "label", "startup_profile_arn", "api_key_id", "setup_actions.1", "setup_actions.2.port", "setup_actions.3.tasks", "setup_actions.3.stage",
    }


@pytest.mark.parametrize(("values", "field"), [
    ({"runtime_profile_arn": "arn:aws:iam::123456789012:role/app"}, "runtime_profile_arn"),
    ({"runtime_profile_arn": "profile"}, "runtime_profile_arn"),
    ({"authorized_keys": "ssh-ed25519 x"}, "authorized_keys"),
    ({"api_access_mode": "keypair", "api_key_storage": "inline_encrypted", "api_key_id": "A" * 20}, "api_key_secret"),
    ({"api_access_mode": "keypair", "api_key_storage": "secret_manager"}, "api_secret_id"),
    ({"api_key_storage": "secret_manager"}, "api_key_storage"),
    ({"license_override": KEPT}, "license_override"),
    ({"colour": "red"}, "colour"),
])
def test_fields_are_checked(site: Store, values: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        create(site, "web", **values)
    assert [problem.field for problem in refused.value.problems] == [field]


def test_good_fields_are_kept(site: Store) -> None:
    arn = "arn:aws:iam::123456789012:instance-profile/team/app"
    record = create(site, "web", runtime_profile_arn=arn, authorized_keys=public_key(), license_override=SECRET, machine_type="m7.large")
    assert record.values["runtime_profile_arn"] == arn and record.values["license_override"] == KEPT and record.values["restrict_metadata_access"]
    assert SECRET not in dump(site)


def test_secrets_are_sealed_and_never_told(site: Store) -> None:
    key = private_key()
    record = create(
        site, "web", driver(), SetupAction("add_ssh_key", "key", {"private_key": key}),
        SetupAction("add_env_variables", "env", {"variables": {"DB_PASSWORD": SECRET, "STAGE": "test"}}), license_override=SECRET,
    )
    assert SECRET not in repr(record) and "PRIVATE KEY" not in repr(record)
    assert record.setup_actions[0].parameters["password"] == KEPT and record.setup_actions[0].parameters["headers"] == {"Authorization": KEPT}
    assert record.setup_actions[2].parameters["variables"] == {"DB_PASSWORD": KEPT, "STAGE": "test"}
    assert SECRET not in dump(site) and key.splitlines()[1] not in dump(site)
    clear = in_clear(site)
    assert (clear[0]["password"], clear[0]["headers"]["Authorization"]) == (SECRET, f"Bearer {SECRET}")
    assert clear[1]["private_key"] == key and clear[2]["variables"]["DB_PASSWORD"] == SECRET


def test_an_edit_keeps_moves_duplicates_and_replaces_secrets(site: Store) -> None:
    record = create(site, "web", driver(), SetupAction("add_ssh_key", "key", {"private_key": private_key()}))
    first, second = record.setup_actions
    moved = edit(site, record, actions=(second, first, first))
    assert [clear.get("password") for clear in in_clear(site)] == [None, SECRET, SECRET]
    assert len({action.id for action in moved.setup_actions}) == 3, "a duplicate is an action of its own"
    other = SetupAction("install_db_driver", "driver", {**moved.setup_actions[1].parameters, "password": "another-one"}, id=moved.setup_actions[1].id)
    edit(site, moved, actions=(moved.setup_actions[0], other, moved.setup_actions[2]))
    assert [clear.get("password") for clear in in_clear(site)] == [None, "another-one", SECRET]


def test_a_mask_without_a_secret_on_record_is_refused(site: Store) -> None:
    with pytest.raises(InvalidInput) as refused:
        create(site, "web", driver(password=KEPT, headers={}))
    assert [problem.field for problem in refused.value.problems] == ["setup_actions.1.password"]
    record = create(site, "web", driver())
    stolen = SetupAction("install_db_driver", "x", {**record.setup_actions[0].parameters}, id="a-00000000")
    with pytest.raises(InvalidInput):
        edit(site, record, actions=(stolen,))
    with pytest.raises(InvalidInput):
        edit(site, record, actions=(driver(password={"sealed": "v1.x"}, headers={}),))


def test_a_sealed_secret_opens_for_its_own_action_alone(site: Store) -> None:
    from fleet_tui.backend.errors import AuthFailed

    create(site, "web", driver())
    create(site, "other", driver(password="of-the-other"))
    with site.write() as tx:
        mine, theirs = templates.find_template(tx, "web"), templates.find_template(tx, "other")
        mine.setup_actions = theirs.setup_actions
    with pytest.raises(AuthFailed):
        in_clear(site)


def test_a_clone_has_the_secrets_and_is_its_own(site: Store) -> None:
    create(site, "web", driver(), license_override=SECRET)
    with site.write() as tx:
        templates.clone_template(tx, CloneTemplate("web", "copy"), SEALER)
    edit(site, show(site), actions=(), license_override="")
    assert in_clear(site, "copy")[0]["password"] == SECRET and show(site, "copy").values["license_override"] == KEPT
    with pytest.raises(InvalidInput, match="taken"), site.write() as tx:
        templates.clone_template(tx, CloneTemplate("web", "COPY"), SEALER)


def test_a_stale_save_is_refused_with_what_differs_and_no_secret(site: Store) -> None:
    record = create(site)
    edit(site, record, machine_type="m7.large", license_override=SECRET)
    with pytest.raises(WrongState) as refused:
        edit(site, record, machine_type="m7.small", license_override="mine")
    assert refused.value.details["fields"] == {
        "machine_type": {"theirs": "m7.large", "yours": "m7.small"}, "license_override": {"theirs": KEPT, "yours": KEPT},
    }


def test_an_edit_marks_linked_instances_says_why_and_how_many_and_takes_it_back(site: Store) -> None:
    record = create(site, "web", SetupAction("application_port", "port", {"port": 8081}))
    provision(site, "web-1")
    provision(site, "web-2")
    with site.write() as tx:
        saved.create(tx, CreateInstance(label="new-1", template="web", network="cloud"), CLOCK)
    changed = edit(site, record, actions=(SetupAction("application_port", "port", {"port": 8082}), driver()), machine_type="m7.large")
    assert (changed.instances, changed.waiting) == (3, 2)
    with site.read() as tx:
        linked = {link.label: link for link in templates.show_template(tx, "web").linked}
        form = saved.show(tx, "web-1")
    assert linked["web-1"].why == "web was changed: Machine type was none, is m7.large, actions: driver added, port changed"
    assert linked["web-1"].waits and not linked["new-1"].waits
    assert form.reasons["template"] == linked["web-1"].why
    back = edit(site, changed, actions=record.setup_actions, machine_type="")
    assert back.waiting == 0, "what is as it was needs no reprovision"


def test_a_new_label_is_followed_and_marks_nobody(site: Store) -> None:
    record = create(site)
    provision(site, "web-1")
    assert edit(site, record, label="shop").waiting == 0
    with site.read() as tx:
        row = saved.find_row(tx, "web-1")
        assert (row.settings["template"], row.pending) == ("shop", [])
        assert row.applied is not None and row.applied["template"] == "shop"


def test_a_template_in_use_is_not_deleted(site: Store) -> None:
    create(site)
    provision(site, "web-1")
    with pytest.raises(InUse, match="web-1") as refused, site.write() as tx:
        templates.delete_template(tx, DeleteTemplate("web", "web"))
    assert refused.value.details["users"] == ["web-1"]
    create(site, "other")
    with site.write() as tx:
        row = saved.find_row(tx, "web-1")
        row.machine = "m-1"
        saved.edit(tx, EditInstance("web-1", row.version, {"template": "other"}), CLOCK)
    with pytest.raises(InUse, match="web-1"), site.write() as tx:
        templates.delete_template(tx, DeleteTemplate("web", "web"))  # its machine goes on with it until a reprovision
    create(site, "third")
    with pytest.raises(ConfirmationRequired), site.write() as tx:
        templates.delete_template(tx, DeleteTemplate("third", "web"))
    with site.write() as tx:
        assert "deleted" in templates.delete_template(tx, DeleteTemplate("third", "third"))


def test_actions_on_the_whole_machine_are_for_instances_that_have_one(site: Store) -> None:
    create(site, "web", SetupAction("install_packages", "nginx", {"packages": ["nginx"]}))
    provision(site, "web-1")
    with pytest.raises(InvalidInput) as refused:
        provision(site, "here-1", network="local")
    assert refused.value.problems[0].field == "template"
    for word in ("template web", "nginx (install_packages)", "virtual network local"):
        assert word in refused.value.message
    record = create(site, "plain")
    provision(site, "here-2", "plain", "local")
    marked = edit(site, record, actions=(SetupAction("install_packages", "nginx", {"packages": ["nginx"]}),))
    assert marked.unfit == ("here-2",), "the save is allowed, and says for whom it is not"
    off = SetupAction("install_packages", "nginx", {"packages": ["nginx"]}, enabled=False)
    assert edit(site, marked, actions=(off,)).unfit == ()


def test_a_dry_run_says_what_would_be_done_in_order_and_no_secret(site: Store) -> None:
    tasks = "- name: tune\n  sysctl: {name: vm.swappiness, value: 1}\n"
    actions = (
        SetupAction("run_tasks", "late", {"tasks": "- run: echo hi\n"}, "after_startup"), SetupAction("run_tasks", "tune", {"tasks": tasks}, "before_install"),
        driver(), SetupAction("install_packages", "nginx", {"packages": ["nginx"]}), SetupAction("add_ssh_key", "off", {"private_key": private_key()}, enabled=False),
    )
    create(site, "web", *(action for action in actions if action.kind != "install_packages"))
    with site.read() as tx:
        found = render(tx, RenderTemplate("web", setup_actions=actions), SEALER)
    assert [action.name for action in found.actions] == ["tune", "driver", "nginx", "off", "late"]
    assert [action.stage for action in found.actions] == ["before_install"] * 4 + ["after_startup"]
    assert "ansible-playbook, which must be on the machine: task 1 uses `sysctl`" in found.actions[0].lines[0]
    assert SECRET not in repr(found) and "PRIVATE" not in repr(found) and "with password ••••" in found.actions[1].lines
    assert not found.actions[3].enabled
    with site.read() as tx:
        unsaved = render(tx, RenderTemplate("", setup_actions=actions[:1]), SEALER)
    assert [action.name for action in unsaved.actions] == ["late"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_be_rendered(site: Store, kind: str) -> None:
    create(site, "web", SetupAction(kind, "x", GOOD[kind]))
    with site.read() as tx:
        (action,) = render(tx, RenderTemplate("web"), SEALER).actions
    assert action.lines and all(action.lines)


def test_a_dry_run_for_an_instance_says_what_it_would_refuse(site: Store) -> None:
    record = create(site, "web")
    provision(site, "here-1", "web", "local")
    edit(site, record, actions=(SetupAction("install_packages", "nginx", {"packages": ["nginx"]}),))
    with site.read() as tx:
        (action,) = render(tx, RenderTemplate("web", "here-1"), SEALER).actions
    assert "share theirs" in action.refused


def test_another_key_over_the_secrets_marks_nobody_and_another_secret_does(site: Store) -> None:
    record = create(site, "web", driver(), license_override=SECRET)
    provision(site, "web-1")
    with site.write() as tx:  # what moves secrets under another key changes nothing but the sealed text
        row = templates.find_template(tx, "web")
        moved = json.loads(json.dumps(row.setup_actions).replace('"sealed": "v1.', '"sealed": "k1.'))
        row.setup_actions, row.license_sealed = moved, f"k1{row.license_sealed}"
    assert edit(site, record, machine_type="m").waiting == 1
    record = edit(site, show(site), machine_type="")
    assert record.waiting == 0
    record = edit(site, record, license_override="another")
    assert record.waiting == 1
    with site.read() as tx:
        assert templates.show_template(tx, "web").linked[0].why == "web was changed: License"


def test_what_an_earlier_program_kept_in_the_clear_is_told_to_nobody_and_sealed(site: Store) -> None:
    old = {"kind": "add_env_variables", "name": "env", "parameters": {"variables": {"DB_PASSWORD": SECRET, "A": "b"}}, "stage": "before_install", "enabled": True}
    with site.write() as tx:
        tx.add(TemplateRow(id="t-old", label="web", application="hello-app", setup_actions=[old], version=1))
    record = show(site)
    assert SECRET not in repr(record) and in_clear(site)[0]["variables"]["DB_PASSWORD"] == SECRET
    with site.write() as tx:
        templates.clone_template(tx, CloneTemplate("web", "copy"), SEALER)
        templates.seal_old_secrets(tx, SEALER)
    assert SECRET not in dump(site)
    assert [in_clear(site, label)[0]["variables"] for label in ("web", "copy")] == [{"DB_PASSWORD": SECRET, "A": "b"}] * 2
    with site.write() as tx:
        before = list(templates.find_template(tx, "web").setup_actions)
        templates.seal_old_secrets(tx, SEALER)
        assert templates.find_template(tx, "web").setup_actions == before
