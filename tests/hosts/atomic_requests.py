from tests.settings import *  # noqa: F403  a host's settings on top of the suite's
from tests.settings import database

DATABASES = {"default": database("sqlite:") | {"ATOMIC_REQUESTS": True}}
