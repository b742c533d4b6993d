import time

import hypothesis

from .celery import app as celery_app

__all__ = ["celery_app", "examples", "signed_headers"]

# The duration of an example depends more on the machine than on the code.
hypothesis.settings.register_profile("suite", deadline=None)
# For repeated runs of the suite, on another Python or from the wheel.
hypothesis.settings.register_profile("brief", deadline=None, max_examples=10)
hypothesis.settings.register_profile(
    "fuzz", deadline=None, max_examples=300, print_blob=True, derandomize=False
)
hypothesis.settings.load_profile("suite")


def examples(most: int) -> hypothesis.settings:
    """Return the settings of a property with expensive examples: at most this many, or fewer if the
    profile says so.
    """
    return hypothesis.settings(max_examples=min(most, hypothesis.settings().max_examples))


def signed_headers(body: bytes, secret: str = "whsec-A") -> dict[str, str]:  # noqa: S107  a test secret
    """Return the headers of a webhook that is sent now."""
    # Django's settings are not configured yet when this package is imported.
    from filestack_tags.filestack.webhook_signatures import sign_webhook

    timestamp = str(int(time.time()))
    return {"FS-Timestamp": timestamp, "FS-Signature": sign_webhook(body, timestamp, secret)}
