from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class FilestackTagsConfig(AppConfig):
    name = "filestack_tags"
    verbose_name = _("Filestack tags")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from . import (  # registering checks needs the app registry
            checks,  # noqa: F401  registers them
            conf,
            model_files,
            sinks,
        )

        conf.reset_on_setting_changed()
        sinks.follow_settings()
        sinks.connect()
        model_files.follow()
