"""The account itself: registered, tried, shown, and opened for whoever works in the cloud."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import Column
from sqlalchemy.orm import Session as Transaction

from fleet_tui.backend.clock import Clock
from fleet_tui.backend.cloud import (
    AUTHENTICATIONS,
    DEFAULT_IMAGE,
    DEFAULT_MACHINE_TYPE,
    AccountVerdict,
    CloudCheck,
    CloudRecord,
    KeyVerdict,
    RemoveCloud,
    SetUpCloud,
)
from fleet_tui.backend.cloud import sealed as secrets_kept
from fleet_tui.backend.cloud.guidance import PERMISSIONS, STEPS
from fleet_tui.backend.cloud.rows import CloudAccountRow
from fleet_tui.backend.errors import ConfirmationRequired, FleetError, InUse, InvalidInput, NotFound, Problem, TimedOut, Unreachable, WrongState
from fleet_tui.backend.events.feed import append
from fleet_tui.backend.operations.overview import active_by_target, was_asked_for
from fleet_tui.backend.secrets import KeyService, Sealer
from fleet_tui.backend.secrets.kms import KmsSealer, Vault, check_key
from fleet_tui.backend.store import Store, in_turn, new_id

if TYPE_CHECKING:
    from fleet_tui.backend.cloud.session import Access, Session

AWS = "aws"
REF = f"cloud:{AWS}"
REWRAP = "kms.rewrap"
_TURN = 0x636C6F7564  # "cloud": who saves it is alone, or two would make it at once
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]{1,512}\Z")
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d\Z")
_KEY_ID = re.compile(r"[A-Z0-9]{16,128}\Z")
_ENDPOINT = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+(/[\w./-]*)?\Z")
_TYPE = re.compile(r"[a-z][a-z0-9-]{1,20}\.[a-z0-9-]{2,20}\Z")
_IMAGE = re.compile(r"(ami-[0-9a-f]{8,17}|resolve:ssm:/?[\w./-]{1,1000})\Z")
_FIELDS = ("region", "authentication", "role_arn", "access_key_id", "endpoint", "aws_cmk_id", "machine_image", "machine_type")
_SHOWS_WHO = {"iam_role": "role_arn", "keypair": "secret_access_key"}
"""Field by which AWS knows us, of an authentication."""

_NAMED = 5

Users = Callable[[Transaction], Sequence[str]]


class Account:
    """The site's one account, as it is on record at the moment of each question.

    Args:
        sealer: the site's own; seals the account's secret key.
        users: what exists in the account, each as a person calls it; then it may neither be changed for another one nor removed.
        columns: where secrets are kept; those marked as such by default.
    """

    def __init__(
        self, store: Store, sealer: Sealer, clock: Clock, users: Users = lambda tx: (), columns: Sequence[Column[Any]] | None = None
    ) -> None:
        self._store, self._sealer, self._clock, self._users = store, sealer, clock, users
        self._columns = columns
        self._lock = threading.Lock()
        self._opened: tuple[Access, Session] | None = None
        self.vault = Vault(sealer, self.keyed, self.keys)

    @property
    def columns(self) -> Sequence[Column[Any]]:
        return secrets_kept.columns() if self._columns is None else self._columns

    # --- for whoever works there -------------------------------------------------------------------------------------

    def row(self) -> CloudAccountRow | None:
        with self._store.read() as tx:
            return tx.get(CloudAccountRow, AWS)

    def existing(self) -> CloudAccountRow:
        """Raises :class:`NotFound` when the site has no account."""
        row = self.row()
        if row is None:
            raise NotFound("this site has no cloud account", hint="`fleet cloud setup --region REGION` registers one")
        return row

    def session(self) -> Session:
        """Raises :class:`NotFound` when the site has no account."""
        return self._open(self._access(self.existing()))

    def keys(self) -> KeyService | None:
        """The key service; ``None`` without an account."""
        from fleet_tui.backend.cloud.keys import AwsKeys

        row = self.row()
        return None if row is None else AwsKeys(self._open(self._access(row)))

    def keyed(self) -> KmsSealer | None:
        """What new secrets are sealed with; ``None`` when no key is chosen."""
        row = self.row()
        if row is None or not row.cmk_arn:
            return None
        from fleet_tui.backend.cloud.keys import AwsKeys

        return KmsSealer(AwsKeys(self._open(self._access(row))), row.cmk_arn)

    def _access(self, row: CloudAccountRow) -> Access:
        from fleet_tui.backend.cloud.session import Access

        secret = self._sealer.open(row.secret_key_sealed, _CONTEXT).decode() if row.secret_key_sealed else ""
        return Access(row.region, row.authentication, row.role_arn, row.access_key_id, secret, row.endpoint)

    def _open(self, access: Access, *, anew: bool = False) -> Session:
        """The session of that access, kept as long as it stays the same and AWS takes its credentials: a client takes a tenth of a second to make.

        Args:
            anew: read credentials that lie outside again, as when a person tries them.
        """
        from fleet_tui.backend.cloud.session import Session

        with self._lock:
            if anew or self._opened is None or self._opened[0] != access or self._opened[1].is_refused:
                self._opened = (access, Session(access))
            return self._opened[1]

    # --- for people --------------------------------------------------------------------------------------------------

    def show(self) -> CloudRecord:
        with self._store.read() as tx:
            row = tx.get(CloudAccountRow, AWS)
            working = active_by_target(tx, [REF]).get(REF)
            sealed = secrets_kept.count(tx, self.columns)
        row = row or CloudAccountRow(
            id="", site="", region="", authentication=AUTHENTICATIONS[0], role_arn="", access_key_id="", secret_key_sealed="", endpoint="",
            aws_cmk_id="", cmk_arn="", machine_image=DEFAULT_IMAGE, machine_type=DEFAULT_MACHINE_TYPE, account="", identity="", version=0,
        )
        return CloudRecord(
            provider=row.id, region=row.region, authentication=row.authentication, role_arn=row.role_arn, access_key_id=row.access_key_id,
            has_secret_key=bool(row.secret_key_sealed), endpoint=row.endpoint, aws_cmk_id=row.aws_cmk_id, cmk_arn=row.cmk_arn,
            machine_image=row.machine_image, machine_type=row.machine_type, site=row.site, account=row.account, identity=row.identity,
            tested_at=row.tested_at, sealed=sealed, rewrap_id=working[0] if working else None, version=row.version,
            permissions=PERMISSIONS, steps=STEPS,
        )

    def set_up(self, request: SetUpCloud) -> bool:
        """Try what is asked for, then save it.

        Returns:
            Whether stored secrets are now under another key than new ones.

        Raises:
            InvalidInput: every field at fault at once, or a key of the wrong kind.
            InUse: it is another account, or no key any more, while there are things in it, or under its key.
            WrongState: saved by somebody else meanwhile.
            FleetError: AWS refuses, or does not answer.
        """
        row = self.row()
        wanted = self._wanted(row, request)
        access = self._access(wanted)
        self._try(access, wanted)
        with self._store.write() as tx:
            in_turn(tx, _TURN)
            kept = tx.get(CloudAccountRow, AWS, with_for_update=True)
            if (kept.version if kept else 0) != (row.version if row else 0):
                raise WrongState("the cloud account was saved by somebody else meanwhile", hint="show it again and repeat the change")
            self._refuse_losing(tx, kept, wanted)
            if kept is None:
                tx.add(wanted)
            else:
                for name in (*_FIELDS, "secret_key_sealed", "cmk_arn", "account", "identity", "tested_at"):
                    setattr(kept, name, getattr(wanted, name))
                kept.version += 1
            append(tx, type="cloud.changed", ref=REF, text=f"cloud account {wanted.account} saved")
            return bool(wanted.cmk_arn) and next(secrets_kept.behind(tx, self.columns, wanted.cmk_arn), None) is not None

    def is_left_behind(self) -> bool:
        """Whether a key was chosen and nobody was asked since to move the secrets to it: the daemon died right after :meth:`set_up`."""
        with self._store.read() as tx:
            row = tx.get(CloudAccountRow, AWS)
            if row is None or row.tested_at is None or not row.cmk_arn or was_asked_for(tx, REWRAP, row.tested_at):
                return False
            return next(secrets_kept.behind(tx, self.columns, row.cmk_arn), None) is not None

    def _wanted(self, row: CloudAccountRow | None, request: SetUpCloud) -> CloudAccountRow:
        """The row as it would be; nothing of it is stored."""
        if row is not None and request.version not in (0, row.version):
            raise WrongState(
                f"the cloud account was changed meanwhile (version {row.version}, yours was {request.version})",
                hint="show it again and repeat the change", version=row.version,
            )
        before = {name: getattr(row, name) for name in _FIELDS} if row else {
            **dict.fromkeys(_FIELDS, ""), "authentication": AUTHENTICATIONS[0], "machine_image": DEFAULT_IMAGE, "machine_type": DEFAULT_MACHINE_TYPE,
        }
        said = {name: value.strip() for name in _FIELDS if (value := getattr(request, name)) is not None}
        values = {**before, **said}
        secret = row.secret_key_sealed if row else ""
        if request.secret_access_key:
            secret = self._sealer.seal(request.secret_access_key.strip().encode(), _CONTEXT)
        if values["authentication"] != "keypair":
            values["access_key_id"], secret = "", ""
        if values["authentication"] != "iam_role":
            values["role_arn"] = ""
        if problems := _problems(values, bool(secret)):
            first = problems[0]
            raise InvalidInput(f"the cloud account cannot be saved: {first.field}: {first.message}", problems=problems)
        return CloudAccountRow(
            id=AWS, site=row.site if row else new_id("site"), secret_key_sealed=secret, cmk_arn="", account="", identity="",
            tested_at=self._clock.now(), version=1, **values,
        )

    def _try(self, access: Access, wanted: CloudAccountRow) -> None:
        from fleet_tui.backend.cloud.keys import AwsKeys

        session = self._open(access, anew=True)
        with _blaming(_SHOWS_WHO.get(wanted.authentication, "authentication"), "endpoint" if wanted.endpoint else "region"):
            told = session.client("sts").call("get_caller_identity")
            wanted.account, wanted.identity = str(told["Account"])[:20], str(told["Arn"])[:2048]
            session.client("ec2").call("describe_availability_zones")
        if wanted.aws_cmk_id:
            with _blaming("aws_cmk_id", "aws_cmk_id"):
                facts, _ = check_key(AwsKeys(session), wanted.aws_cmk_id, wanted.region)
            wanted.cmk_arn = facts.id

    def remove(self, request: RemoveCloud) -> str:
        """Forget the account.

        Raises:
            NotFound: the site has no account of that number.
            InUse: there is something of ours in it, or under its key; each is named.
            ConfirmationRequired: its number was not typed.
        """
        with self._store.write() as tx:
            in_turn(tx, _TURN)
            row = tx.get(CloudAccountRow, AWS, with_for_update=True)
            if row is None or row.account != request.target.strip():
                has = f"it has {row.account}" if row else "it has none"
                raise NotFound(f"this site has no cloud account {request.target!r}; {has}", hint="`fleet cloud show`")
            what = f"cloud account {row.account} cannot be removed"
            if users := self._users(tx):
                raise InUse(f"{what} while it is used: {_some(users)}", hint="delete those first", users=list(users[:20]))
            if working := active_by_target(tx, [REF]).get(REF):
                raise InUse(f"{what} while operation {working[0]} works with it", hint="wait for its end, or cancel it", users=[working[0]])
            if sealed := secrets_kept.under_a_clouds_key(tx, self.columns):
                hint = "take those keys out of the settings, or delete what they belong to, then retry"
                raise InUse(f"{what}: its key alone opens secrets of {_some(sealed)}", hint=hint, users=sealed[:20])
            if request.confirm != row.account:
                raise ConfirmationRequired(f"removing cloud account {row.account} cannot be undone", hint=f"type its number: --confirm {row.account}")
            number = row.account
            tx.delete(row)
            append(tx, type="cloud.changed", ref=REF, text=f"cloud account {number} removed")
        return f"cloud account {number} removed"

    def _refuse_losing(self, tx: Transaction, kept: CloudAccountRow | None, wanted: CloudAccountRow) -> None:
        if kept is None:
            return
        moved = [name for name in ("account", "region", "endpoint") if getattr(kept, name) != getattr(wanted, name)]
        if moved and (users := self._users(tx)):
            raise InUse(
                f"the {moved[0]} of the cloud account cannot change while it is used: {_some(users)}",
                hint="delete them first", users=list(users[:20]),
            )
        keyed = _keyed(secrets_kept.count(tx, self.columns))
        if kept.account != wanted.account and (lost := {key: number for key, number in keyed.items() if _account_of(key) != wanted.account}):
            raise InUse(
                f"{sum(lost.values())} secrets are sealed under a key that is not of account {wanted.account}, which may not open them",
                hint=f"first choose a key of {wanted.account} here, and let them move to it; or take those secrets out of the settings",
                users=sorted(lost),
            )
        if kept.cmk_arn and not wanted.cmk_arn and (lost := keyed):
            raise InUse(
                f"{sum(lost.values())} secrets are sealed under a cloud's key", hint="choose another key instead; they are moved to it",
                users=sorted(lost),
            )

    def test(self) -> AccountVerdict:
        """Try the account as it is on record. What it does not pass is in the verdict, not raised.

        Raises:
            NotFound: the site has no account.
        """
        row = self.existing()
        session = self._open(self._access(row), anew=True)
        identity, checks = "", []
        for name, service, operation in (("identity", "sts", "get_caller_identity"), ("machines", "ec2", "describe_availability_zones")):
            try:
                told = session.client(service).call(operation)
            except FleetError as error:
                checks.append(CloudCheck(name, "failed", error.message, error.hint))
                continue
            if service == "sts":
                identity = str(told["Arn"])[:2048]
                checks.append(_same_account(row, str(told["Account"]), identity))
            else:
                checks.append(CloudCheck(name, "ok", f"{len(told['AvailabilityZones'])} zones of {row.region} answer"))
        if row.aws_cmk_id:
            checks += self.test_key("").checks
        return AccountVerdict(identity, all(check.verdict != "failed" for check in checks), tuple(checks))

    def test_key(self, aws_cmk_id: str) -> KeyVerdict:
        """Try a key, the one that is set up when none is named. What it does not pass is in the verdict, not raised."""
        from fleet_tui.backend.cloud.keys import AwsKeys

        row = self.existing()
        key = aws_cmk_id.strip() or row.aws_cmk_id
        if not key:
            raise InvalidInput("no key is set up", problems=[Problem("aws_cmk_id", "is needed")], hint="name one, or `fleet cloud setup --cmk KEY`")
        try:
            facts, warning = check_key(AwsKeys(self._open(self._access(row))), key, row.region)
        except FleetError as error:
            return KeyVerdict(key, False, (CloudCheck("key", "failed", error.message, error.hint),))
        checks = [
            CloudCheck("describe", "ok", f"{facts.id}, {facts.spec}, {facts.usage}, {facts.state}"),
            CloudCheck("encrypt and decrypt", "ok", "a random value came back as it was"),
        ]
        checks.append(CloudCheck("region", "warning" if warning else "ok", warning or f"{facts.region}, the site's own"))
        return KeyVerdict(facts.id, True, tuple(checks))


def _same_account(row: CloudAccountRow, account: str, identity: str) -> CloudCheck:
    if account == row.account:
        return CloudCheck("identity", "ok", identity)
    return CloudCheck("identity", "failed", f"{identity} is in account {account}, not in {row.account}", "give the site its own credentials back")


@contextmanager
def _blaming(refused: str, unreachable: str) -> Iterator[None]:
    """Name the field that a form shows the error beside: ``details["field"]``."""
    try:
        yield
    except FleetError as error:
        error.details.setdefault("field", unreachable if isinstance(error, Unreachable | TimedOut) else refused)
        raise


def any_sealed(store: Store) -> str:
    """The account's secret key as it is sealed, by which the site's master key is known; empty when there is none."""
    with store.read() as tx:
        row = tx.get(CloudAccountRow, AWS)
        return row.secret_key_sealed if row is not None else ""


_CONTEXT = f"{REF}:secret-access-key"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _problems(values: dict[str, str], has_secret: bool) -> list[Problem]:
    """Everything wrong with any field, at once."""
    found = []

    def check(name: str, good: Any, words: str) -> None:
        if not good:
            found.append(Problem(name, words))

    way = values["authentication"]
    check("region", _REGION.match(values["region"]), "a region such as eu-west-1 is needed")
    check("authentication", way in AUTHENTICATIONS, f"one of {', '.join(AUTHENTICATIONS)} is needed")
    check("role_arn", way != "iam_role" or _ROLE.match(values["role_arn"]), "a role such as arn:aws:iam::123456789012:role/fleet is needed")
    check("access_key_id", way != "keypair" or _KEY_ID.match(values["access_key_id"]), "an access key id is needed (16 or more capitals and digits)")
    check("secret_access_key", way != "keypair" or has_secret, "is needed with a key pair")
    check("endpoint", not values["endpoint"] or _ENDPOINT.match(values["endpoint"]), "an address such as https://aws.example.org:443, or nothing")
    check("machine_image", _IMAGE.match(values["machine_image"]), "an image such as ami-0123456789abcdef0, or resolve:ssm:/path")
    check("machine_type", _TYPE.match(values["machine_type"]), "a machine type such as t3.medium")
    check("aws_cmk_id", len(values["aws_cmk_id"]) <= 2048 and not re.search(r"\s", values["aws_cmk_id"]), "a key's id, ARN or alias")
    return found


def _account_of(key: str) -> str:
    """The number in ``arn:aws:kms:<region>:<number>:key/<id>``."""
    return (key.split(":") + [""] * 5)[4]


def _keyed(counted: Mapping[str, int]) -> dict[str, int]:
    """Those that only a cloud's key opens."""
    return {key: number for key, number in counted.items() if key != secrets_kept.MASTER}
