"""The control file: which policies and clients an operator has silenced or stopped."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from cds_service.auth.clients_file import check_model, read_yaml
from cds_service.errors import ConfigurationError

# `off` would be read as false by YAML.
Mode = Literal["silent", "stopped"]


@dataclass(frozen=True)
class Control:
    """Modes by policy id and by client id: `silent` records and shows nothing, `stopped` does not evaluate."""

    policies: Mapping[str, Mode] = field(default_factory=dict)
    clients: Mapping[str, Mode] = field(default_factory=dict)

    @property
    def stopped_policies(self) -> frozenset[str]:
        """Ids of policies that do not fire."""
        return frozenset(policy for policy, mode in self.policies.items() if mode == "stopped")


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    format: Literal[1]
    policies: dict[str, Mode] = {}
    clients: dict[str, Mode] = {}


def load_control(path: str, text: str, policies: Collection[str], clients: Collection[str]) -> Control:
    """The control file at `path`, which holds `text`; none if the path is empty. `policies`, `clients`: known ids.

    Raises ConfigurationError, also for an unknown id: a switch that is spelt wrongly would switch nothing.
    """
    if not path:
        return Control()
    file = Path(path)
    document = read_yaml(file, text)
    content = check_model(file, _File, {"format": 1} if document is None else document)
    for name, named, known in (("policies", content.policies, policies), ("clients", content.clients, clients)):
        for id_ in named:
            if id_ not in known:
                raise ConfigurationError(f"{path}: {name}: '{id_}' is not known. Known: {', '.join(sorted(known))}.")
    return Control(content.policies, content.clients)
