"""What instances are launched from, as it crosses the door: templates, virtual networks, and blueprints of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from typing import Any

from fleet_tui.backend.instances import SetupAction
from fleet_tui.backend.records import dataclass

KEPT = "••••"
"""Stands for a secret that is on record. Sent back, it leaves the secret as it is; nobody is ever told more of it."""


@dataclass(frozen=True, slots=True)
class LinkedInstance:
    """An instance that was made from a template, or in a virtual network."""

    id: str
    label: str
    state: str
    waits: bool
    """Whether a change of what it is linked to waits for its reprovision."""
    why: str
    """What that change is, and what else is amiss with the link; empty when nothing is."""


@dataclass(frozen=True, slots=True)
class TemplateRecord:
    """A template as lists have it. Secrets, in ``values`` and in parameters of actions, are :data:`KEPT`."""

    id: str
    label: str
    application: str
    """Name of the application its instances run."""
    setup_actions: tuple[SetupAction, ...]
    instances: int
    version: int
    """Grows with every saved change; an edit names the one it was made from."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """By field, see :mod:`template_fields`."""
    waiting: int = 0
    """Linked instances for which a change of it waits for a reprovision."""
    unfit: tuple[str, ...] = ()
    """Labels of linked instances that share their machine, and so would refuse an action of it at their next provision."""
    lacks: tuple[str, ...] = ()
    """Secrets that are to be entered before a provision: a blueprint could not carry them."""


@dataclass(frozen=True, slots=True)
class TemplateSheet:
    """A template with everything a form and its tabs need."""

    record: TemplateRecord
    linked: tuple[LinkedInstance, ...]
    locked: Mapping[str, str]
    """Field -> why it cannot be changed now."""
    choices: Mapping[str, tuple[str, ...]]
    """Field -> what may be chosen now."""


@dataclass(frozen=True, slots=True)
class ListTemplates:
    limit: int = 1000


@dataclass(frozen=True, slots=True)
class ShowTemplate:
    """A template; with an empty target, what a new one would start with."""

    target: str = ""


@dataclass(frozen=True, slots=True)
class CreateTemplate:
    label: str
    values: Mapping[str, Any] = field(default_factory=dict)
    setup_actions: tuple[SetupAction, ...] = ()


@dataclass(frozen=True, slots=True)
class EditTemplate:
    """Change a template. Running instances go on as they are: those it says how many wait for a reprovision.

    ``setup_actions`` takes the place of the whole list; ``None`` leaves it. An action that carries the ``id`` of one on record
    keeps the secrets it does not give anew; the same id a second time makes a duplicate, secrets included.
    """

    target: str
    version: int
    changes: Mapping[str, Any] = field(default_factory=dict)
    setup_actions: tuple[SetupAction, ...] | None = None


@dataclass(frozen=True, slots=True)
class PutTemplate:
    """Create a template (``version=0``), or replace the application and actions of the one that has the label: for scripts."""

    label: str
    application: str = "hello-app"
    setup_actions: tuple[SetupAction, ...] = ()
    version: int = 0


@dataclass(frozen=True, slots=True)
class CloneTemplate:
    """A new template with everything of another, its secrets too."""

    target: str
    label: str


@dataclass(frozen=True, slots=True)
class DeleteTemplate:
    target: str
    confirm: str = ""
    """The label, typed. Anything else is refused."""


@dataclass(frozen=True, slots=True)
class RenderTemplate:
    """What the setup actions would do on one instance. Nothing is done, and no secret is told.

    ``setup_actions`` are those of a form that is not saved yet; ``None`` takes those on record.
    """

    target: str
    instance: str = ""
    """Empty: an instance of the template that does not exist, on a machine of its own."""
    setup_actions: tuple[SetupAction, ...] | None = None


@dataclass(frozen=True, slots=True)
class RenderedAction:
    """One action as it would run."""

    stage: str
    kind: str
    name: str
    enabled: bool
    lines: tuple[str, ...]
    """What would be done, a line each: commands, files, settings."""
    refused: str
    """Why it would be refused here; empty when it would not."""


@dataclass(frozen=True, slots=True)
class RenderedTemplate:
    """A dry run of a template, in the order things would happen."""

    template: str
    instance: str
    network: str
    actions: tuple[RenderedAction, ...]


# Virtual networks.


@dataclass(frozen=True, slots=True)
class NetworkFinding:
    """Something in which a virtual network and what is really there differ."""

    field: str
    text: str
    is_error: bool = True
    """Whether instances could not be provisioned in it as it is."""


@dataclass(frozen=True, slots=True)
class VirtualNetworkRecord:
    """A virtual network: where instances run, how they are reached, and the HTTPS strategy."""

    id: str
    label: str
    provider: str
    https_strategy: str
    instances: int
    version: int = 1
    values: Mapping[str, Any] = field(default_factory=dict)
    """By field, see :mod:`network_fields`."""
    place: str = ""
    """Where it is, in a few words: ``eu-west-1 vpc-1a2b/subnet-3c4d``, ``zone-1/shop-net``."""
    waiting: int = 0
    """Linked instances for which a change of it waits for a reprovision."""
    checked_at: datetime | None = None
    findings: tuple[NetworkFinding, ...] = ()
    """Of the last check."""


@dataclass(frozen=True, slots=True)
class VirtualNetworkSheet:
    """A virtual network with everything a form and its tabs need."""

    record: VirtualNetworkRecord
    linked: tuple[LinkedInstance, ...]
    locked: Mapping[str, str]
    choices: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class ListVirtualNetworks:
    limit: int = 1000


@dataclass(frozen=True, slots=True)
class ShowVirtualNetwork:
    """A virtual network; with an empty target, what a new one would start with."""

    target: str = ""


@dataclass(frozen=True, slots=True)
class CreateVirtualNetwork:
    """Save a virtual network, when its place has what it names. Nothing is made there."""

    label: str
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EditVirtualNetwork:
    target: str
    version: int
    changes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CloneVirtualNetwork:
    target: str
    label: str


@dataclass(frozen=True, slots=True)
class DeleteVirtualNetwork:
    target: str
    confirm: str = ""
    """The label, typed. Anything else is refused."""


@dataclass(frozen=True, slots=True)
class CheckVirtualNetwork:
    """Compare it with what is really there, and keep what differs on its record. Nothing else is changed."""

    target: str


# Blueprints: a template and a virtual network as one file.


@dataclass(frozen=True, slots=True)
class ExportBlueprint:
    """One of the two may be left out."""

    template: str = ""
    network: str = ""


@dataclass(frozen=True, slots=True)
class BlueprintFile:
    """A blueprint as YAML. Secrets are left out; ``omitted`` says which."""

    text: str
    omitted: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ImportBlueprint:
    """Make a template and a virtual network of a blueprint, both or none.

    A label that is taken is refused, unless ``replace`` says that what is there becomes what the blueprint says.
    """

    text: str
    template: str = ""
    """Label to use instead of the blueprint's."""
    network: str = ""
    replace: bool = False


@dataclass(frozen=True, slots=True)
class ImportedBlueprint:
    template: TemplateRecord | None
    network: VirtualNetworkRecord | None
    missing: tuple[str, ...]
    """Secrets the blueprint does not carry, which are to be entered before the next provision."""
