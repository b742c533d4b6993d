from tests.settings import *  # noqa: F403  extends the suite's settings
from tests.settings import database

DATABASES = {"default": database("sqlite:") | {"ATOMIC_REQUESTS": True}}
