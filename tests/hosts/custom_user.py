from tests.settings import *  # noqa: F403  a host's settings on top of the suite's
from tests.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.hosts.people"]
AUTH_USER_MODEL = "people.Person"
