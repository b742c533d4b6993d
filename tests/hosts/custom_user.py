from tests.settings import *  # noqa: F403  extends the suite's settings
from tests.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.hosts.people"]
AUTH_USER_MODEL = "people.Person"
