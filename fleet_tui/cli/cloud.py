"""``fleet cloud …``: the site's account with a cloud, and the key its secrets are sealed under."""

from __future__ import annotations

from fleet_tui.backend import cloud as c
from fleet_tui.backend.errors import UsageError
from fleet_tui.cli.asking import change, operate, password_of, report
from fleet_tui.cli.context import Context
from fleet_tui.cli.tables import CLOUD_CHECKS

_SETTINGS = ("region", "authentication", "role_arn", "access_key_id", "endpoint", "aws_cmk_id", "machine_image", "machine_type")


def show(context: Context) -> int:
    """With ``--steps``, how to make key, role and secret, and what the site must be allowed."""
    record: c.CloudRecord = context.session.fetch(c.ShowCloud())
    if context.out.is_json:
        context.out.json(record)
    elif context.given.steps:
        context.out.lines([
            *(context.out.cell(f"{number}. {step}") for number, step in enumerate(record.steps, 1)), "", "Actions of the policy:",
            *(f"  {action}" for action in record.permissions),
        ])
    else:
        context.out.lines(context.out.cell(line) for line in _said(record))
    return 0


def set_up(context: Context) -> int:
    """What is not given stays. The secret key is typed, or one line of standard input."""
    given = context.given
    said = {name: getattr(given, name) for name in _SETTINGS if getattr(given, name) is not None}
    if not said and not given.secret:
        raise UsageError("nothing to set up", hint="`fleet cloud setup --region REGION` registers the account; --help lists the rest")
    if given.secret or said.get("authentication") == "keypair":
        said["secret_access_key"] = password_of("Secret access key")
    record: c.CloudRecord = change(context, c.SetUpCloud(**said))
    if record.rewrap_id:
        context.say(f"stored secrets move to the new key: `fleet op follow {record.rewrap_id}`")
    return report(context, record, f"cloud account {record.account} in {record.region} saved; we are {record.identity} there")


def test(context: Context) -> int:
    """Exit code 1 when the account does not pass."""
    return _told(context, change(context, c.TestAccount()))


def test_key(context: Context) -> int:
    """Exit code 1 when the key does not pass."""
    return _told(context, change(context, c.TestKey(context.given.key), context.given.key))


def _told(context: Context, verdict: c.AccountVerdict | c.KeyVerdict) -> int:
    if context.out.is_json:
        context.out.json(verdict)
    else:
        context.out.rows(CLOUD_CHECKS, verdict.checks)
    return 0 if verdict.passed else 1


def rewrap(context: Context) -> int:
    return operate(context, c.RewrapKeys, "cloud")


def remove(context: Context) -> int:
    return report(context, change(context, c.RemoveCloud(context.given.account), context.given.account))


def _said(record: c.CloudRecord) -> list[str]:
    if not record.provider:
        return ["this site has no cloud account", "`fleet cloud setup --region REGION` registers one; `fleet cloud show --steps` tells what it needs"]
    way = {"iam_role": f"in the role {record.role_arn}", "keypair": f"with the access key {record.access_key_id}"}.get(
        record.authentication, "as what fleetd runs as"
    )
    tested = f"{record.tested_at:%Y-%m-%d %H:%M}" if record.tested_at else "never"
    sealed = ", ".join(f"{number} under {key}" for key, number in record.sealed.items()) or "none"
    lines = [
        f"account   {record.account} in {record.region}, called {way}", f"identity  {record.identity}",
        f"key       {record.aws_cmk_id or 'none: secrets are under the master key'}{f' ({record.cmk_arn})' if record.cmk_arn else ''}",
        f"secrets   {sealed}", f"machines  {record.machine_type} from {record.machine_image}", f"tag       fleet:site={record.site}",
        f"tested    {tested}",
    ]
    lines += [f"endpoint  {record.endpoint}"] if record.endpoint else []
    return [*lines, f"moving    secrets move to the key: operation {record.rewrap_id}"] if record.rewrap_id else lines
