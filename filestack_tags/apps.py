from django.apps import AppConfig, apps
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _


class FilestackTagsConfig(AppConfig):
    name = "filestack_tags"
    verbose_name = _("Filestack tags")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from . import conf, receivers, translation
        from .checks import check_settings  # noqa: F401  registers all checks
        from .operations import sinks  # these need the app registry

        translation.install(gettext)
        conf.mask_secrets()
        conf.reset_on_setting_changed()
        sinks.follow_settings()
        sinks.connect()
        if apps.is_installed("drf_spectacular"):
            from .api import schema  # noqa: F401  registers our views with drf-spectacular
        receivers.follow()
