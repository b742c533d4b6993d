"""System checks: a wrong setting is an error with an id and a fix, never a traceback.

Ids are never reused: E001–E099 are for settings that cannot work, W001–W099 for settings that are
probably unintended.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import DatabaseError, connections

from . import tasks
from .assets import upload_policy, visibility
from .conf import SETTING, Settings, configured, get_settings, unknown_keys
from .db.transactions import alias, atomic, unapplied_migrations
from .exceptions import ConfigurationError, FilestackTagsError, RuleError
from .filestack.hosts import is_loopback
from .filestack.storage import Storage
from .operations import sinks
from .operations.report import report
from .operations.retention import least_delivery_days
from .operations.setting_values import URLS, wrong_values
from .tagging import pipeline
from .tagging.taggers.base import BUILT_IN, get_tagger
from .tasks import broker

FRAMES = "django.middleware.clickjacking.XFrameOptionsMiddleware"

READ_COMMITTED = "read committed"

TAGGER_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")

AppConfigs = Sequence[AppConfig] | None


@register(Tags.compatibility)
def check_settings(app_configs: AppConfigs = None, **kwargs: Any) -> list[CheckMessage]:
    """Check that every key is known and has a usable value (E001–E009, E012, E040–E042)."""
    try:
        values = configured()
    except ConfigurationError as error:
        return [Error(str(error), id="filestack_tags.E001")]
    wrong: list[CheckMessage] = [
        Error(f"{SETTING} has no key {key!r}.", hint=hint, id="filestack_tags.E002")
        for key, hint in unknown_keys(values).items()
    ]
    wrong += wrong_values(values)
    return wrong or [*_retention_messages(get_settings())]


@register(Tags.compatibility)
def check_tagger(app_configs: AppConfigs = None, **kwargs: Any) -> list[CheckMessage]:
    """Check that the taggers exist and have what they need (E010, E011, E017, E018, W001–W003)."""
    if check_settings():
        return []
    return [*_tagger_messages(get_settings()), *_task_messages(get_settings())]


@register(Tags.compatibility)
def check_hosts(app_configs: AppConfigs = None, **kwargs: Any) -> list[CheckMessage]:
    """Check that all or none of Filestack's hosts are the emulator (W006)."""
    if check_settings():
        return []
    settings = get_settings()
    local = [name for name in URLS if is_loopback(getattr(settings, name))]
    others = [name for name in URLS if name not in local]
    if not local or not others:
        return []
    return [
        Warning(
            f"{SETTING}: {', '.join(local)} name this machine, but {', '.join(others)} "
            "do not: some calls and uploads go to the emulator, the others to Filestack.",
            hint="Set all of them as the emulator prints them, or none.",
            id="filestack_tags.W006",
        )
    ]


@register(Tags.compatibility)
def check_workflows(app_configs: AppConfigs = None, **kwargs: Any) -> list[CheckMessage]:
    """Check that rules can be parsed and workflows can be run (E020, E021)."""
    if check_settings():
        return []
    return [*_rule_messages(get_settings()), *_workflow_messages(get_settings())]


@register(Tags.compatibility)
def check_isolation(app_configs: AppConfigs = None, **kwargs: Any) -> list[CheckMessage]:
    """Check that a transaction sees current rows after it waited for a lock (E013)."""
    connection = connections[alias()]
    options = connection.settings_dict.get("OPTIONS") or {}
    # Django's default if the option is absent; None leaves it to the server.
    level = options.get("isolation_level", READ_COMMITTED)
    if connection.vendor != "mysql" or str(level).lower() == READ_COMMITTED:
        return []
    return [
        Error(
            f"The database {connection.alias!r} is read at the isolation level {level!r}: "
            "counts and people's decisions would be overwritten from old reads.",
            hint=f"Remove OPTIONS['isolation_level'], or set it to {READ_COMMITTED!r}.",
            id="filestack_tags.E013",
        )
    ]


@register(Tags.compatibility)
def check_sinks(app_configs: AppConfigs = None, **kwargs: Any) -> list[CheckMessage]:
    """Check that every sink can be created (E016)."""
    if check_settings():
        return []
    return [Error(str(problem), id="filestack_tags.E016") for problem in sinks.problems()]


@register(Tags.security)
def check_scope(app_configs: AppConfigs = None, **kwargs: Any) -> list[CheckMessage]:
    """Check that the ``ASSET_SCOPE`` function exists (E050)."""
    if check_settings() or not get_settings().ASSET_SCOPE:
        return []
    try:
        visibility.hook(get_settings().ASSET_SCOPE)
    except ConfigurationError as error:
        hint = "Name a function (user) -> Q | None: myproject.tenants.assets_of."
        return [Error(str(error), hint=hint, id="filestack_tags.E050")]
    return []


@register(Tags.compatibility)
def check_celery(app_configs: AppConfigs = None, **kwargs: Any) -> list[CheckMessage]:
    """Check that the project has a Celery app that processes find without naming it (W013)."""
    if broker.has_celery_app():
        return []
    return [
        Warning(
            "The project has no Celery app, so tasks are sent to Celery's default broker and "
            "no file is tagged.",
            hint="Create yourproject/celery.py and import its app in yourproject/__init__.py: "
            "https://docs.celeryq.dev/en/stable/django/",
            id="filestack_tags.W013",
        )
    ]


@register(Tags.compatibility)
def check_time_limits(app_configs: AppConfigs = None, **kwargs: Any) -> list[CheckMessage]:
    """Check that tasks may run longer than the calls that they wait for (W017, W018)."""
    if check_settings():
        return []
    settings = get_settings()
    call = settings.CONNECT_TIMEOUT + settings.READ_TIMEOUT
    soft, hard = tasks.time_limits()
    least = pipeline.SLICE + call + tasks.TIME_TO_LAND
    messages: list[CheckMessage] = []
    if hard and hard < least:
        messages.append(
            Warning(
                f"CELERY_TASK_TIME_LIMIT is {hard:g} seconds: a worker may be killed while it "
                "waits for calls, which are then lost but paid for.",
                hint=f"Set it to {least:g} or more, or lower CONNECT_TIMEOUT and READ_TIMEOUT.",
                id="filestack_tags.W017",
            )
        )
    if soft and soft < pipeline.SLICE:
        messages.append(
            Warning(
                f"CELERY_TASK_SOFT_TIME_LIMIT is {soft:g} seconds: each task ends that early and "
                "leaves its work to another one.",
                hint=f"Set it to {pipeline.SLICE:g} or more.",
                id="filestack_tags.W018",
            )
        )
    return messages


@register(Tags.security)
def check_uploads(app_configs: AppConfigs = None, **kwargs: Any) -> list[CheckMessage]:
    """Check that ``STORAGE`` and ``UPLOAD_RULES`` fit ``ASSET_SCOPE`` (E051, E052, W050)."""
    if check_settings():
        return []
    settings = get_settings()
    messages: list[CheckMessage] = []
    try:
        Storage.of(settings.STORAGE)
    except ConfigurationError as error:
        hint = f"Correct {SETTING}['STORAGE']; see the settings page."
        messages.append(Error(str(error), hint=hint, id="filestack_tags.E051"))
    if settings.UPLOAD_RULES:
        try:
            upload_policy.hook(settings.UPLOAD_RULES)
        except ConfigurationError as error:
            hint = (
                "Name a function (user, request) -> UploadRules | None: "
                "myproject.tenants.upload_rules."
            )
            messages.append(Error(str(error), hint=hint, id="filestack_tags.E052"))
    elif settings.ASSET_SCOPE:
        messages.append(
            Warning(
                f"{SETTING}['ASSET_SCOPE'] limits what users see, but every user may upload to the "
                "same container and path, so files can be placed in another tenant's scope.",
                hint=f"Set {SETTING}['UPLOAD_RULES']. Silence this check if your scope depends "
                "neither on the container nor on the key of a file.",
                id="filestack_tags.W050",
            )
        )
    return messages


@register(Tags.database)
def check_character_set(
    app_configs: AppConfigs = None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Check that MariaDB stores every character: database, connection and columns (W027)."""
    connection = connections[alias()]
    if alias() not in (databases or ()) or connection.vendor != "mysql":
        return []
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT @@character_set_database, @@character_set_client")
            sets = dict(zip(("the database", "the connection"), cursor.fetchone(), strict=True))
            cursor.execute(
                "SELECT table_name, column_name, character_set_name"
                " FROM information_schema.columns WHERE table_schema = DATABASE()"
                " AND character_set_name <> 'utf8mb4'"
            )
            columns = [
                f"{table}.{column}"
                for table, column, _ in cursor.fetchall()
                if table.startswith("filestack_tags_")
            ]
    except DatabaseError:  # W026 reports it
        return []
    places = [name for name, found in sets.items() if found != "utf8mb4"]
    if columns:
        places.append(f"{len(columns)} columns, such as {columns[0]}")
    if not places:
        return []
    return [
        Warning(
            f"Not utf8mb4: {', '.join(places)} of {connection.alias!r}. Emoji and other "
            "characters of four bytes cannot be stored; names that have them are changed.",
            hint="Convert the database and its tables before you migrate; see Databases in "
            "docs/production.md.",
            id="filestack_tags.W027",
        )
    ]


@register(Tags.database)
def check_operations(
    app_configs: AppConfigs = None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Check that all migrations are applied and nothing waits longer than it should (W020–W026).

    Runs where a database may be queried: ``manage.py check --database default``. ``migrate`` runs
    the same checks first, so it does not report missing migrations.
    """
    if alias() not in (databases or ()) or check_settings():
        return []
    try:
        missing = unapplied_migrations()
    except DatabaseError as error:
        return [
            Warning(
                f"The database {alias()!r} cannot be read ({type(error).__name__}).",
                hint="Check DATABASES, and that the database server is running.",
                id="filestack_tags.W026",
            )
        ]
    if missing:
        if sys.argv[1:2] == ["migrate"]:
            return []
        return [
            Warning(
                f"The database {alias()!r} lacks migrations of filestack_tags: "
                f"{', '.join(missing)}.",
                hint=f"Run manage.py migrate --database {alias()}.",
                id="filestack_tags.W025",
            )
        ]
    with atomic():
        problems = report().problems
    return [
        Warning(problem.text, id=f"filestack_tags.{_PROBLEMS[problem.code]}")
        for problem in problems
        if problem.code in _PROBLEMS
    ]


@register(Tags.security, deploy=True)
def check_deployment(app_configs: AppConfigs = None, **kwargs: Any) -> list[CheckMessage]:
    """Check that webhooks are verified, calls encrypted, pages protected (W010–W012, W015)."""
    if check_settings():
        return []
    settings = get_settings()
    messages: list[CheckMessage] = []
    if not any(settings.WEBHOOK_SECRETS):
        messages.append(
            Warning(
                "No webhook secret is set, so every webhook is answered with 503.",
                hint=f"Copy the webhook's secret from the Filestack portal to "
                f"{SETTING}['WEBHOOK_SECRETS'].",
                id="filestack_tags.W010",
            )
        )
    messages += [
        Warning(
            f"{SETTING}[{name!r}] is not https: policies and files travel in the clear.",
            hint="Use https, or keep the plain address to the emulator and development.",
            id="filestack_tags.W011",
        )
        for name in URLS
        if not getattr(settings, name).startswith("https://")
    ]
    if settings.WEBHOOK_TOLERANCE is None:
        messages.append(
            Warning(
                "Webhooks of any age are accepted: once its delivery is pruned, a recorded "
                "fp.delete takes effect again.",
                hint=f"Remove {SETTING}['WEBHOOK_TOLERANCE'], or set it to 46800 seconds or more.",
                id="filestack_tags.W014",
            )
        )
    if getattr(django_settings, "CELERY_TASK_ALWAYS_EAGER", False):
        messages.append(
            Warning(
                "CELERY_TASK_ALWAYS_EAGER makes requests wait for Filestack.",
                hint="Run a Celery worker, and beat for the sweep.",
                id="filestack_tags.W012",
            )
        )
    if FRAMES not in django_settings.MIDDLEWARE:
        messages.append(
            Warning(
                "Another site can show the pages of the admin in a frame.",
                hint=f"Add {FRAMES!r} to MIDDLEWARE.",
                id="filestack_tags.W015",
            )
        )
    return messages


_PROBLEMS = {
    "circuit_open": "W020",
    "budget_exhausted": "W021",
    "sweep_overdue": "W022",
    "inbox_late": "W023",
    "queue_late": "W024",
}


def _retention_messages(settings: Settings) -> Iterator[CheckMessage]:
    days = least_delivery_days()
    if days > settings.DELIVERY_RETENTION_DAYS:
        yield Error(
            f"{SETTING}['DELIVERY_RETENTION_DAYS'] is shorter than WEBHOOK_TOLERANCE: a "
            "signature would be accepted again after its delivery is deleted.",
            hint=f"Keep deliveries for {days} days or more, or lower WEBHOOK_TOLERANCE.",
            id="filestack_tags.E041",
        )


def _custom_tagger_messages(settings: Settings) -> Iterator[CheckMessage]:
    for name in settings.TAGGERS:
        try:
            if name in BUILT_IN or not TAGGER_NAME.fullmatch(name):
                raise ConfigurationError("The name cannot be used.")
            get_tagger(name)
        except FilestackTagsError as error:
            yield Error(
                f"{SETTING}['TAGGERS'][{name!r}]: {error}",
                hint="A name is at most 100 letters, digits, '-' and '_', and not "
                f"{', '.join(BUILT_IN)}; its value is the dotted path of a class or a factory "
                "without arguments.",
                id="filestack_tags.E017",
            )


def _task_messages(settings: Settings) -> Iterator[CheckMessage]:
    from .filestack.chains import fault_of  # not above: as in _tagger_messages

    for task in settings.TASKS_BEFORE_TAGS:
        if fault := fault_of(task):
            yield Error(
                f"{SETTING}['TASKS_BEFORE_TAGS']: {task[:60]!r} {fault}.",
                hint="Write a task as name or name=option:value, such as 'resize=h:2000'. Only "
                "tasks that return a picture can be put before tags.",
                id="filestack_tags.E018",
            )


def _tagger_messages(settings: Settings) -> Iterator[CheckMessage]:
    yield from _custom_tagger_messages(settings)
    try:
        get_tagger(settings.TAGGER)
    except FilestackTagsError as error:
        yield Error(str(error), id="filestack_tags.E010")
        return
    # Not above: it loads the HTTP client, which a process that only serves pages may not need.
    from .tagging.taggers.local import missing_packages

    if settings.TAGGER == "local" and (missing := missing_packages()):
        yield Error(
            f"The local tagger lacks {', '.join(missing)}.",
            hint="pip install 'django-filestack-tags[local]'",
            id="filestack_tags.E011",
        )
    is_built_in = settings.TAGGER.partition(":")[0] in BUILT_IN
    if is_built_in and settings.TAGGER != "local":
        for name in ("API_KEY", "APP_SECRET"):
            if not getattr(settings, name):
                yield Warning(
                    f"{SETTING}[{name!r}] is empty, so no file can be read and tagged.",
                    hint="Copy it from the Filestack portal, or use the emulator's.",
                    id="filestack_tags.W001",
                )
    if settings.TAGGER == "workflow" and not settings.WORKFLOW_ID:
        yield Warning(
            f"{SETTING}['WORKFLOW_ID'] is empty, so the workflow tagger has nothing to run.",
            hint="Copy the id of a workflow with an Image Tagging task from the portal.",
            id="filestack_tags.W003",
        )
    if settings.RATE_LIMIT:
        yield from _rate_messages(settings)
    longest = settings.CONNECT_TIMEOUT + settings.READ_TIMEOUT
    if is_built_in and longest >= settings.LEASE_SECONDS:
        yield Warning(
            f"{SETTING}['LEASE_SECONDS'] is over before a call to Filestack is: the file would be "
            "asked about, and paid for, twice.",
            hint=f"Set it to more than CONNECT_TIMEOUT and READ_TIMEOUT, {longest:g} seconds.",
            id="filestack_tags.W005",
        )
    if settings.TAGS_VERSION == 1:
        yield Warning(
            "Version 1 of Filestack's image tagging is deprecated.",
            hint=f"Remove {SETTING}['TAGS_VERSION'], or set it to 2.",
            id="filestack_tags.W002",
        )


def _rate_messages(settings: Settings) -> Iterator[CheckMessage]:
    from .tagging.rate_limit import quota  # only where a rate is kept

    try:
        quota(settings.RATE_LIMIT)
    except ConfigurationError as error:
        yield Error(
            str(error),
            hint="Leave it empty for no limit of your own.",
            id="filestack_tags.E030",
        )
        return
    if not settings.REDIS_URL:
        yield Warning(
            f"{SETTING}['REDIS_URL'] is empty, so each process has RATE_LIMIT to itself.",
            hint="Name a Redis that all of them reach, or divide the rate among them.",
            id="filestack_tags.W004",
        )


def _rule_messages(settings: Settings) -> Iterator[CheckMessage]:
    from .filestack.logic import parse_rule  # not above: as in _tagger_messages

    for name, text in settings.RULES.items():
        try:
            parse_rule(text)
        except RuleError as error:
            yield Error(
                f"{SETTING}['RULES'][{name!r}] cannot be read: {error.message}",
                hint=f"Reading stopped at character {error.position + 1} of {len(text)}. Until "
                "it is mended, the rule is left out of what runs record.",
                id="filestack_tags.E020",
            )


def _workflow_messages(settings: Settings) -> Iterator[CheckMessage]:
    from .filestack.calls import is_identifier  # not above: as in _tagger_messages

    ids = {f"['WORKFLOWS'][{name!r}]": key for name, key in settings.WORKFLOWS.items()}
    if settings.WORKFLOW_ID:
        ids["['WORKFLOW_ID']"] = settings.WORKFLOW_ID
    # A tagger's name has at most 100 characters.
    names = {
        f"['WORKFLOWS']: the name {name!r}": f"workflow.{name}" for name in settings.WORKFLOWS
    }
    for place, text in (ids | names).items():
        if not is_identifier(text):
            yield Error(
                f"{SETTING}{place} cannot be used.",
                hint="Ids of workflows and names for them are letters, digits, '.', '-' and "
                "'_', at most 100 and 91 of them; the portal shows the id.",
                id="filestack_tags.E021",
            )
