"""What a host's type checker makes of the public API. Read by mypy in ``make lint``, never run.

``assert_type`` says what must be known of a value. A ``type: ignore`` stands where a call is wrong:
mypy tells of one that is not needed, so each is a test that the mistake is found.
"""
