"""Setup actions as the agent does them: each looks before it acts, so that a second run changes nothing."""

from __future__ import annotations

import base64
import hashlib
import http.server
import io
import json
import os
import shutil
import ssl
import stat
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fleet_tui.agent import actions, modules, system
from fleet_tui.agent.failures import Failure
from fleet_tui.agent.journal import Journal
from fleet_tui.agent.layout import Layout
from fleet_tui.agent.machine import Machine, set_up
from fleet_tui.agent.spool import Spool
from fleet_tui.agent.standing import Standing
from fleet_tui.backend.instances import action_kinds, tasks
from tests.material import authority, private_key, public_key

ANSIBLE = shutil.which("ansible-playbook")
needs_ansible = pytest.mark.skipif(ANSIBLE is None, reason="ansible-core is not installed")


@dataclass
class Bench:
    """A machine without an agent process: actions are called one by one."""

    machine: Machine
    programs: Path
    said: list[str] = field(default_factory=list)

    def do(self, kind: str, **parameters: Any) -> list[str]:
        """Run one action; what it said."""
        self.said.clear()
        self.machine.document = {**self.machine.document, "actions": [{"kind": kind, "name": "mine", "parameters": parameters}]}
        actions.run_stage(Noting(self.machine, self.said), "after_install")
        return self.said[1:]

    def program(self, name: str, script: str) -> None:
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def without_ansible(self) -> None:
        """A path on which there are the programs of the system but for Ansible."""
        for folder in ("/usr/bin", "/bin"):
            for path in Path(folder).iterdir():
                if not path.name.startswith("ansible") and not (self.programs / path.name).exists():
                    (self.programs / path.name).symlink_to(path)
        self.machine.environment["PATH"] = str(self.programs)


class Noting(Machine):
    """The same machine, which notes what is said too."""

    def __init__(self, machine: Machine, said: list[str]) -> None:
        self.__dict__ = machine.__dict__
        self.said = said

    def sayer(self, phase: str) -> Any:
        return self.said.append


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    layout = Layout(tmp_path / "machine")
    layout.folder.mkdir()
    (tmp_path / "data").mkdir()
    layout.data.symlink_to(tmp_path / "data")
    document = {"application": {"name": "a", "version": "1", "start": "true", "port": 8080}, "machine": {"is_whole": True}, "timeouts": {"action_s": 60}}
    spool = Spool(layout.folder / "spool")
    machine = Machine("m-1", layout, document, Journal(spool, lambda: None), Standing(["hello"], lambda: None, life=1))
    set_up(machine)
    machine.root = tmp_path / "root"
    programs = tmp_path / "programs"
    programs.mkdir()
    machine.environment["PATH"] = f"{programs}:{machine.environment['PATH']}"
    yield Bench(machine, programs)
    spool.close()


def test_agent_and_daemon_know_the_same_kinds_and_modules() -> None:
    assert set(actions.KINDS) == set(action_kinds.KINDS)
    assert set(actions.WHOLE) == {kind.name for kind in action_kinds.KINDS.values() if kind.is_whole}
    assert set(modules.MODULES) == set(tasks.OWN_MODULES)


@pytest.mark.parametrize("kind", actions.WHOLE)
def test_what_changes_the_whole_machine_is_refused_where_it_is_shared(bench: Bench, kind: str) -> None:
    bench.machine.document = {**bench.machine.document, "machine": {"is_whole": False}}
    with pytest.raises(Failure, match="shares with others"):
        bench.do(kind)


# --- run_tasks -----------------------------------------------------------------------------------------------------

PORTABLE = tasks.read_tasks("""
- name: folder
  file: {path: made, state: directory, mode: "0750"}
- name: config
  ansible.builtin.copy:
    content: "a = 1\\n"
    dest: made/app.conf
    mode: 0640
- lineinfile: {path: made/app.conf, line: b = 2}
- lineinfile: {path: made/app.conf, regexp: '^a', line: a = 3}
- command: touch made/once
  args: {creates: made/once}
- shell: echo $WORD >> made/said
  environment: {WORD: hello}
- name: gone
  file: {path: made/gone, state: absent}
- debug: {msg: all is well}
""")


def made(bench: Bench) -> dict[str, Any]:
    folder = bench.machine.layout.home / "made"
    return {
        "mode": stat.S_IMODE(folder.stat().st_mode), "conf": (folder / "app.conf").read_text(), "conf mode": stat.S_IMODE((folder / "app.conf").stat().st_mode),
        "once": (folder / "once").exists(), "said": (folder / "said").read_text(),
    }


EXPECTED = {"mode": 0o750, "conf": "a = 3\nb = 2\n", "conf mode": 0o640, "once": True, "said": "hello\n"}


def test_without_ansible_the_agent_does_the_small_set_itself_and_says_so(bench: Bench) -> None:
    bench.without_ansible()
    said = bench.do("run_tasks", tasks=PORTABLE, needs_ansible=tasks.needs_ansible(PORTABLE))
    assert said[0] == "8 tasks, run by the agent itself: ansible-playbook is not on this machine"
    assert made(bench) == EXPECTED and "task 8: all is well" in said
    bench.do("run_tasks", tasks=PORTABLE, needs_ansible="")
    assert made(bench) == {**EXPECTED, "said": "hello\nhello\n"}, "a second run finds everything as it is to be; a bare shell is its author's affair"


@needs_ansible
def test_with_ansible_the_same_tasks_come_to_the_same_and_the_log_says_who_ran_them(bench: Bench) -> None:
    said = bench.do("run_tasks", tasks=PORTABLE, needs_ansible="")
    assert said[0] == f"8 tasks, run by {ANSIBLE}"
    assert made(bench) == EXPECTED
    assert any("ok=8" in line and "failed=0" in line for line in said), said
    assert not (bench.machine.layout.home / ".fleet-playbook.json").exists()


@needs_ansible
def test_a_failing_task_of_ansible_fails_the_action_with_its_output_in_the_log(bench: Bench) -> None:
    listed = tasks.read_tasks("- name: no\n  ansible.builtin.fail: {msg: for a reason}\n")
    with pytest.raises(Failure, match="ansible-playbook ended with exit status 2"):
        bench.do("run_tasks", tasks=listed)
    assert any("for a reason" in line for line in bench.said)


@needs_ansible
def test_a_word_of_our_own_among_ansibles_is_a_shell_command(bench: Bench) -> None:
    listed = tasks.read_tasks("- run: echo $FLEET_APP_NAME > here\n- ansible.builtin.assert: {that: 1 == 1}\n")
    bench.do("run_tasks", tasks=listed)
    assert (bench.machine.layout.home / "here").read_text() == "a\n"


def test_tasks_in_our_own_word_are_always_run_by_the_agent(bench: Bench) -> None:
    assert bench.do("run_tasks", tasks=[{"run": "echo hi"}])[0] == "1 task, run by the agent itself"


@pytest.mark.parametrize(("listed", "told"), [
    ("- sysctl: {name: a, value: 1}", "uses `sysctl`"), ("- shell: x\n  when: a", "uses `when`"), ("- copy: {src: a, dest: b}", "uses `src` of `copy`"),
    ("- shell: echo {{ x }}", "uses a template"), ("- copy: content=a dest=b", "as one line"), ("- block: [{debug: {msg: x}}]", "uses `block`"),
])
def test_what_only_ansible_can_do_fails_without_it_and_says_what_to_do(bench: Bench, listed: str, told: str) -> None:
    read = tasks.read_tasks(listed)
    why = tasks.needs_ansible(read)
    assert told in why
    bench.without_ansible()
    with pytest.raises(Failure, match="needs ansible-playbook") as failed:
        bench.do("run_tasks", tasks=read, needs_ansible=why)
    assert told in str(failed.value) and "install the package ansible-core" in str(failed.value)


@pytest.mark.parametrize(("task", "told"), [
    ("- command: 'false'", "exit status 1"), ("- file: {path: nothing}", "is not there"), ("- lineinfile: {path: nope, line: x}", "create: true"),
    ("- copy: {content: x, dest: /}", "is a folder"), ("- file: {path: x, state: touch, mode: u+x}", "octal"), ("- command: echo 'oops", "cannot be read"),
])
def test_a_failing_task_of_the_agents_own_stops_the_list(bench: Bench, task: str, told: str) -> None:
    bench.without_ansible()
    with pytest.raises(Failure, match=told):
        bench.do("run_tasks", tasks=[*tasks.read_tasks(task), *tasks.read_tasks("- command: touch reached")])
    assert not (bench.machine.layout.home / "reached").exists()
    allowed = tasks.read_tasks(task)
    bench.do("run_tasks", tasks=[{**allowed[0], "ignore_errors": True}, *tasks.read_tasks("- command: touch reached")])
    assert (bench.machine.layout.home / "reached").exists()


# --- the machine as a whole ----------------------------------------------------------------------------------------


def test_packages_that_are_there_are_left_and_the_others_installed(bench: Bench, tmp_path: Path) -> None:
    log = tmp_path / "apt.log"
    bench.program("dpkg-query", 'for last; do :; done; case "$last" in bash) echo "installed 5.2";; *) exit 1;; esac')
    bench.program("apt-get", f'echo "$@" >> {log}; echo "DEBIAN_FRONTEND=$DEBIAN_FRONTEND" >> {log}')
    assert bench.do("install_packages", packages=["bash"]) == ["bash: there already"]
    assert not log.exists()
    said = bench.do("install_packages", packages=["bash", "nginx", "bash=6.0"])
    assert "apt-get installs nginx, bash=6.0" in said
    assert log.read_text().splitlines()[2:] == [
        "-q -y --no-install-recommends -o DPkg::Lock::Timeout=300 install nginx bash=6.0", "DEBIAN_FRONTEND=noninteractive",
    ]
    bench.program("apt-get", 'echo "E: Unable to locate package"; exit 100')
    with pytest.raises(Failure, match="apt-get ended with exit status 100"):
        bench.do("install_packages", packages=["nginx"])


def test_a_machine_without_a_package_manager_says_so(bench: Bench) -> None:
    bench.machine.environment["PATH"] = str(bench.programs)
    original = system.shutil.which
    system.shutil.which = lambda program, path=None: original(program, path=str(bench.programs))  # type: ignore[assignment]
    try:
        with pytest.raises(Failure, match="this machine has none of apt-get, dnf"):
            bench.do("install_packages", packages=["nginx"])
    finally:
        system.shutil.which = original


def test_an_ssh_key_is_written_once_for_its_user_alone(bench: Bench) -> None:
    bench.do("add_ssh_key", private_key=private_key(), file="id_deploy")
    (path,) = bench.machine.root.rglob("id_deploy")
    assert path.read_text() == private_key() and stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert "is as it is to be" in bench.do("add_ssh_key", private_key=private_key(), file="id_deploy")[0]
    assert not any("PRIVATE" in line for line in bench.said)
    bench.do("add_authorized_key", key=public_key())
    bench.do("add_authorized_key", key=public_key())
    assert (path.parent / "authorized_keys").read_text() == public_key() + "\n"


def test_a_ca_is_put_into_the_trust_store_once(bench: Bench) -> None:
    with pytest.raises(Failure, match="install ca-certificates"):
        bench.do("add_ca_to_truststore", certificates=authority())
    folder = bench.machine.root / "usr/local/share/ca-certificates"
    folder.mkdir(parents=True)
    bench.program("update-ca-certificates", "echo updated")
    assert bench.do("add_ca_to_truststore", certificates=authority()) == [f"1 of 1 certificates are new in {folder}", "updated"]
    (path,) = folder.iterdir()
    assert path.suffix == ".crt" and path.read_text().strip() == authority().strip()
    assert bench.do("add_ca_to_truststore", certificates=authority())[0].startswith("0 of 1")


def test_a_browser_is_installed_and_named(bench: Bench) -> None:
    bench.program("dpkg-query", "exit 1")
    bench.program("apt-get", f'case "$*" in *" install chromium"*) printf "#!/bin/sh\\n" > {bench.programs}/chromium; chmod +x {bench.programs}/chromium;; esac')
    bench.do("graphics_export", browser="chromium", fonts=[])
    assert bench.machine.environment["FLEET_BROWSER"] == f"{bench.programs}/chromium"


# --- the application's own -----------------------------------------------------------------------------------------


def test_what_the_application_heeds_is_told_by_its_environment(bench: Bench) -> None:
    bench.do("advanced_security", basic_headers=True, hsts=False)
    bench.do("secure_cookies", enabled=True)
    bench.do("memory_settings", application_mb=2048, worker_mb=0)
    told = bench.machine.surroundings()
    assert [told.get(name) for name in ("FLEET_SECURITY_HEADERS", "FLEET_HSTS", "FLEET_SECURE_COOKIES", "FLEET_MEMORY_MB", "FLEET_WORKER_MEMORY_MB")] == [
        "true", "false", "true", "2048", None,
    ]


def test_a_code_environment_is_made_and_made_anew_when_it_is_to_be_another(bench: Bench) -> None:
    assert bench.do("code_env_preset", name="science", python="python3", packages=[])[-1].startswith("science is in")
    python = bench.machine.layout.code_envs / "science/bin/python"
    assert python.exists()
    assert bench.do("code_env_preset", name="science", python="python3", packages=[]) == ["science is as it is to be"]
    with pytest.raises(Failure, match=r"python3\.99 is not on this machine"):
        bench.do("code_env_preset", name="science", python="python3.99", packages=[])


def test_license_api_key_and_directory_are_laid_out_and_taken_away(bench: Bench) -> None:
    layout = bench.machine.layout
    api = {"mode": "keypair", "storage": "inline_encrypted", "key_id": "AKIA", "secret": "s3cret"}
    bench.machine.document = {**bench.machine.document, "license": "L1", "api_access": api, "directory": {"deployer_mode": "central"}}
    set_up(bench.machine)
    told = bench.machine.surroundings()
    assert Path(told["FLEET_LICENSE"]).read_text() == "L1" and stat.S_IMODE(layout.license.stat().st_mode) == 0o600
    credentials = Path(told["AWS_SHARED_CREDENTIALS_FILE"])
    assert "aws_secret_access_key = s3cret" in credentials.read_text() and stat.S_IMODE(credentials.stat().st_mode) == 0o600
    assert json.loads(Path(told["FLEET_DIRECTORY"]).read_text()) == {"deployer_mode": "central"}
    bench.machine.document = {**bench.machine.document, "license": "", "api_access": {}, "directory": {}}
    set_up(bench.machine)
    assert not layout.license.exists() and not credentials.exists() and not layout.directory.exists()
    assert "FLEET_LICENSE" not in bench.machine.surroundings()


# --- database drivers ----------------------------------------------------------------------------------------------


def archive(kind: str) -> bytes:
    files = {"driver-1/lib/driver.jar": b"jar", "driver-1/lib/more.jar": b"more", "driver-1/README": b"read me"}
    data = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(data, "w") as made:
            for name, content in files.items():
                made.writestr(name, content)
    else:
        with tarfile.open(fileobj=data, mode="w:gz") as tar:
            for name, content in files.items():
                info = tarfile.TarInfo(f"./{name}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return data.getvalue()


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_driver_is_taken_out_of_its_archive_once(bench: Bench, tmp_path: Path, kind: str) -> None:
    source = tmp_path / f"driver.{kind}"
    source.write_bytes(archive(kind))
    parameters = {"database": "oracle", "url": source.as_uri(), "paths": ["driver-1/lib"], "sha256": hashlib.sha256(source.read_bytes()).hexdigest()}
    bench.do("install_db_driver", **parameters)
    folder = bench.machine.layout.drivers / "oracle"
    assert sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")) == ["driver.jar", "more.jar"]
    source.unlink()
    assert bench.do("install_db_driver", **parameters) == ["the oracle driver is there already: driver.jar, more.jar"]
    (folder / "driver.jar").unlink()
    with pytest.raises(Failure, match="cannot be fetched"):
        bench.do("install_db_driver", **parameters)


@pytest.mark.parametrize(("more", "told"), [
    ({"sha256": "0" * 64}, "is not the driver that is wanted"), ({"paths": ["driver-1/none.jar"]}, "the archive has no driver-1/none.jar"),
])
def test_what_is_not_the_driver_is_not_kept(bench: Bench, tmp_path: Path, more: dict[str, Any], told: str) -> None:
    source = tmp_path / "driver.zip"
    source.write_bytes(archive("zip"))
    with pytest.raises(Failure, match=told):
        bench.do("install_db_driver", database="oracle", url=source.as_uri(), **more)
    assert not [path for path in (bench.machine.layout.drivers / "oracle").iterdir() if "fetched" in path.name]


class Depot(http.server.BaseHTTPRequestHandler):
    seen: list[tuple[str, str, str]] = []
    elsewhere = ""

    def do_GET(self) -> None:
        self.seen.append((self.path, self.headers.get("Authorization", ""), self.headers.get("X-Token", "")))
        if self.path == "/moved.jar":
            self.send_response(302)
            self.send_header("Location", self.elsewhere)
            self.end_headers()
        elif self.path == "/driver.jar":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"jar")
        else:
            self.send_error(403)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def depot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An HTTPS server that this process trusts."""
    crt, key = tmp_path / "d.crt", tmp_path / "d.key"
    assert os.system(
        f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {key} -out {crt} -days 2 -subj /CN=localhost"
        " -addext subjectAltName=DNS:localhost 2>/dev/null"
    ) == 0
    monkeypatch.setenv("SSL_CERT_FILE", str(crt))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Depot)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(crt, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    Depot.seen = []
    Depot.elsewhere = f"https://localhost:{server.server_port}/driver.jar"
    yield f"https://localhost:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join(10.0)


def test_credentials_go_to_the_server_alone_and_not_to_where_it_sends_us(bench: Bench, depot: str) -> None:
    bench.do("install_db_driver", database="mysql", url=f"{depot}/moved.jar", username="joe", password="pw", headers={"X-Token": "t"})
    basic = "Basic " + base64.b64encode(b"joe:pw").decode()
    assert Depot.seen == [("/moved.jar", basic, "t"), ("/driver.jar", "", "")]
    assert (bench.machine.layout.drivers / "mysql/moved.jar").read_bytes() == b"jar"
    assert "pw" not in " ".join(bench.said)
    with pytest.raises(Failure, match="answered 403"):
        bench.do("install_db_driver", database="mysql", url=f"{depot}/other.jar")


def test_an_s3_url_is_fetched_by_the_program_of_the_cloud_with_keys_in_its_environment(bench: Bench, tmp_path: Path) -> None:
    bench.program("aws", f'echo "$@ $AWS_ACCESS_KEY_ID $AWS_SECRET_ACCESS_KEY" > {tmp_path}/asked; for last; do :; done; echo jar > "$last"')
    bench.do("install_db_driver", database="mssql", url="s3://bucket/drivers/mssql.jar", username="AKIA", password="s3cret")
    asked = (tmp_path / "asked").read_text().split()
    assert asked[:4] == ["s3", "cp", "--only-show-errors", "s3://bucket/drivers/mssql.jar"] and asked[-2:] == ["AKIA", "s3cret"]
    assert (bench.machine.layout.drivers / "mssql/mssql.jar").read_text() == "jar\n"
