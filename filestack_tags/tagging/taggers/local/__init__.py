"""An image tagger that runs on this machine. Install the ``local`` extra to use it."""

from .required_packages import missing_packages
from .tagger import LocalTagger, tag_picture

__all__ = ["LocalTagger", "missing_packages", "tag_picture"]
