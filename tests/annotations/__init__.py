"""The public API for a host's type checker. Checked by mypy in ``make lint``, never run.

``assert_type`` defines the type of a value. A ``type: ignore`` marks a wrong call: mypy reports an
unused one, so each is a test that the mistake is detected.
"""
