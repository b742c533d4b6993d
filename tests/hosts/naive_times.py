from tests.settings import *  # noqa: F403  extends the suite's settings

USE_TZ = False
TIME_ZONE = "America/New_York"
