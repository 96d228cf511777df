"""Templates and virtual networks on a real site: actions that run, changes that wait and say why, secrets that nothing keeps in the clear."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fleet_tui.backend import instances as i
from fleet_tui.backend.errors import InUse, InvalidInput
from fleet_tui.backend.identity import ListAudit
from fleet_tui.backend.instances import profiles as p
from fleet_tui.backend.instances.states import InstanceState
from tests.journeys.site import Site, tasks
from tests.material import private_key, public_key

SECRET = "hunter2-and-some-more"


def action(kind: str, name: str, **parameters: object) -> i.SetupAction:
    return i.SetupAction(kind, name, parameters)


def provision(site: Site, label: str) -> None:
    site.do(i.ProvisionInstance(target=label))


def test_every_kind_a_local_instance_may_have_runs_and_its_secrets_reach_the_application_alone(shared: Site, tmp_path: Path) -> None:
    jar = tmp_path / "driver.jar"
    jar.write_bytes(b"jar")
    shared.call(p.CreateTemplate("rich", {"license_override": f"license-{SECRET}", "authorized_keys": public_key("ann")}, (
        action("add_env_variables", "env", variables={"DB_PASSWORD": SECRET, "STAGE": "test"}), action("add_properties", "props", properties={"pool": "8"}),
        action("setup_proxy", "proxy", host="proxy.internal", port=3128), action("add_authorized_key", "bob", key=public_key("bob")),
        action("install_db_driver", "driver", database="other", url=jar.as_uri(), password=SECRET), action("secure_cookies", "cookies"),
        action("advanced_security", "headers", hsts=True), action("memory_settings", "memory", application_mb=512),
        i.SetupAction("run_tasks", "look", {"tasks": "- run: |\n    echo password $DB_PASSWORD of $STAGE > $HOME/seen\n    echo $DB_PASSWORD\n"
                                            "    cat $FLEET_LICENSE $FLEET_PROPERTIES $FLEET_DRIVERS/other/driver.jar >> $HOME/seen\n"
                                            "    echo $FLEET_HSTS $FLEET_SECURE_COOKIES $FLEET_MEMORY_MB $https_proxy >> $HOME/seen\n"}, "after_install"),
    )))
    shared.create("rich", template="rich")
    provision(shared, "rich")
    machine = shared.places.machines / str(shared.show("rich").machine)
    seen = (machine / "home/seen").read_text()
    assert seen == f"password {SECRET} of test\nlicense-{SECRET}pool=8\njartrue true 512 http://proxy.internal:3128\n"
    keys = (machine / "configuration/authorized_keys").read_text()
    assert public_key("ann") in keys and public_key("bob") in keys
    said = "\n".join(shared.texts("rich"))
    assert SECRET not in said and "••••" in said, "what an action prints of a secret is masked in the log"
    shared.do(i.ReplayActions(target="rich"))
    assert SECRET not in "\n".join(shared.texts("rich"))
    for reply in (p.ListTemplates(), p.ShowTemplate("rich"), p.RenderTemplate("rich", "rich"), p.ExportBlueprint("rich", "local"), i.ShowSettings("rich"), ListAudit()):
        assert SECRET not in repr(shared.call(reply)), type(reply)
    kept = [file for file in shared.home.rglob("*.db*") if file.is_file()]
    assert kept or not shared.database.startswith("sqlite")
    for file in kept:
        assert SECRET.encode() not in file.read_bytes(), file
    assert SECRET not in "".join(shared.words(slot) for slot in shared.slots)


def test_what_changes_the_whole_machine_is_refused_at_once_and_nothing_is_made(shared: Site) -> None:
    shared.call(p.CreateTemplate("whole", {}))
    shared.create("whole", template="whole")
    record = shared.call(p.ShowTemplate("whole")).record
    saved = shared.call(p.EditTemplate("whole", record.version, {}, (action("install_packages", "nginx", packages=["nginx"]),)))
    assert saved.unfit == ("whole",)
    machines = shared.machines()
    with pytest.raises(InvalidInput) as refused:
        shared.submit(i.ProvisionInstance(target="whole"))
    for word in ("template whole", "nginx (install_packages)", "virtual network local"):
        assert word in refused.value.message
    assert shared.machines() == machines and shared.show("whole").state is InstanceState.NEW
    (rendered,) = shared.call(p.RenderTemplate("whole", "whole")).actions
    assert "share theirs" in rendered.refused
    off = i.SetupAction("install_packages", "nginx", {"packages": ["nginx"]}, enabled=False)
    shared.call(p.EditTemplate("whole", saved.version, {}, (off,)))
    provision(shared, "whole")


def test_a_change_of_either_waits_says_why_and_a_plain_start_brings_up_what_was_there(shared: Site) -> None:
    shared.template("waits", tasks("greet", "echo the first"))
    shared.call(p.CreateVirtualNetwork("plain", {"provider": "local"}))
    shared.create("waits", template="waits", network="plain")
    provision(shared, "waits")
    network = shared.call(p.ShowVirtualNetwork("plain")).record
    saved = shared.call(p.EditVirtualNetwork("plain", network.version, {"https_strategy": "self_signed"}))
    assert saved.waiting == 1
    shared.template("waits", tasks("greet", "echo the second"))
    assert shared.show("waits").pending_changes == ("template", "virtual_network")
    reasons = shared.call(i.ShowSettings("waits")).reasons
    assert reasons == {"template": "waits was changed: actions: greet changed", "virtual_network": "plain was changed: HTTPS was none, is self_signed"}
    shared.do(i.StopInstance(target="waits", confirmed=True))
    shared.do(i.StartInstance(target="waits"))
    record = shared.show("waits")
    assert record.url is not None and record.url.startswith("http://") and "Hello from waits" in shared.get("waits")
    assert "the second" not in shared.texts("waits") and len(record.pending_changes) == 2, "they go on waiting"
    shared.do(i.ReprovisionInstance(target="waits", confirmed=True))
    record = shared.show("waits")
    assert record.pending_changes == () and record.url is not None and record.url.startswith("https://") and "Hello from waits" in shared.get("waits")
    assert "the second" in shared.texts("waits")
    with pytest.raises(InUse, match="waits"):
        shared.call(p.DeleteVirtualNetwork("plain", "plain"))


def test_a_blueprint_goes_out_and_comes_in_by_the_command_line(shared: Site, tmp_path: Path) -> None:
    shared.call(p.CreateTemplate("shop", {}, (
        action("install_db_driver", "driver", url="https://example.com/x.jar", password=SECRET),
        i.SetupAction("run_tasks", "greet", {"tasks": "- name: greet  # kindly\n  run: echo hello\n"}),
    )))
    out = shared.fleet("template", "export", "shop", "--network", "local")
    assert out.returncode == 0 and "run: echo hello" in out.stdout and "# kindly" in out.stdout and SECRET not in out.stdout
    assert "driver: password" in out.stderr
    file = tmp_path / "shop.yaml"
    file.write_text(out.stdout)
    taken = shared.fleet("template", "import", str(file), "--template", "shop-2", "--network", "local-2", "--output", "json")
    assert taken.returncode == 0, taken.stderr
    found = json.loads(taken.stdout)
    assert found["missing"] == ["password of the action driver"] and found["network"]["label"] == "local-2"
    shared.create("shop-2", template="shop-2", network="local-2")
    refused = shared.fleet("instance", "provision", "shop-2")
    assert refused.returncode == 3 and "template shop-2 lacks password of the action driver" in refused.stderr
    off = shared.fleet("template", "edit", "shop-2", "--disable", "driver")
    assert off.returncode == 0, off.stderr
    provisioned = shared.fleet("instance", "provision", "shop-2")
    assert provisioned.returncode == 0, "what is switched off needs no secret" + provisioned.stderr
    file.write_text(out.stdout.replace("kind: run_tasks", "kind: run_task"))
    refused = shared.fleet("template", "import", str(file), "--template", "shop-3", "--network", "local-3")
    assert refused.returncode == 3 and "line " in refused.stderr and "run_task is not a kind of action" in refused.stderr


def test_register_verbs_are_audited_without_their_secrets(shared: Site) -> None:
    shared.call(p.CreateTemplate("audited", {"license_override": SECRET}, (action("add_ssh_key", "key", private_key=private_key()),)))
    shared.call(p.CloneTemplate("audited", "audited-2"))
    shared.call(p.DeleteTemplate("audited-2", "audited-2"))
    records = [record for record in shared.call(ListAudit(limit=50)) if record.object.startswith("audited")]
    assert {record.action for record in records} == {"templates.create", "templates.clone", "templates.delete"}
    with pytest.raises(InvalidInput, match="a secret does not belong in a blueprint"):
        shared.call(p.ImportBlueprint(f"fleet-blueprint: 1\ntemplate:\n  label: audited-3\n  license_override: {SECRET}\n"))
    records += shared.call(ListAudit(limit=5))
    told = repr(records)
    assert SECRET not in told and "OPENSSH" not in told and "••••" in told
