from tests.settings import *  # noqa: F403  a host's settings on top of the suite's

USE_TZ = False
TIME_ZONE = "America/New_York"
