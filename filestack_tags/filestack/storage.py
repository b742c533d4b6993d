"""Where Filestack stores a file: provider, region, container, path and access. No Django."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from filestack_tags.exceptions import ConfigurationError

LOCATIONS = {name.lower(): name for name in ("S3", "azure", "dropbox", "gcs", "rackspace")}
"""Providers, each as Filestack's File API spells it (docs: File API)."""

ACCESS = ("", "private", "public")


@dataclass(frozen=True)
class Storage:
    """Store options. Empty ones are left to the Filestack app's own settings.

    Raises:
        ConfigurationError: on construction, when a value is invalid.
    """

    location: str = "s3"
    """The provider, one of ``s3``, ``azure``, ``dropbox``, ``gcs`` and ``rackspace``."""
    region: str = ""
    """Region of the container, for uploads and ``/process``; the File API has none."""
    container: str = ""
    """Bucket or container."""
    path: str = ""
    """Folder, such as ``uploads/``. A missing slash at the end is added, so that ``a`` never
    includes ``ab/``."""
    access: str = ""
    """``private`` or ``public``."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not isinstance(value, str) or not value.isprintable():
                raise ConfigurationError(f"The storage's {name} must be printable text.")
        if self.location.lower() not in LOCATIONS:
            raise ConfigurationError(
                f"The storage's location must be one of {', '.join(LOCATIONS)}."
            )
        if self.access not in ACCESS:
            raise ConfigurationError("The storage's access must be private or public.")
        if not {".", ".."}.isdisjoint(self.path.split("/")):
            raise ConfigurationError("The storage's path cannot hold '.' or '..' segments.")
        object.__setattr__(self, "location", self.location.lower())
        if self.path and not self.path.endswith("/"):
            object.__setattr__(self, "path", f"{self.path}/")

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Storage:
        """Return the storage described by the setting ``STORAGE``.

        Raises:
            ConfigurationError: when a key or a value is invalid.
        """
        known = [item.name for item in fields(cls)]
        unknown = sorted(str(name) for name in options if name not in known)
        if unknown:
            raise ConfigurationError(
                f"The storage has no option {', '.join(unknown)}; allowed: {', '.join(known)}."
            )
        return cls(**options)

    @property
    def options(self) -> dict[str, str]:
        """The store options of uploads and ``/process``, without the empty ones."""
        return {name: value for name, value in asdict(self).items() if value}

    @property
    def provider(self) -> str:
        """The location in the form used in the path of the File API."""
        return LOCATIONS[self.location]

    def holds(self, container: str, key: str) -> bool:
        """Whether a file with this container and key is in this storage."""
        return (not self.container or container == self.container) and key.removeprefix(
            "/"
        ).startswith(self.path.removeprefix("/"))


DEFAULT = Storage()
