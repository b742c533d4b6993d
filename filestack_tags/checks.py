"""System checks: report an invalid setting with an id and a fix, never with a traceback.

Ids are never reused: E001–E099 are for settings that cannot work, W001–W099 for settings that are
probably unintended.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
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
from .filestack.private_hosts import is_loopback
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
Messages = Iterator[CheckMessage]


def _error(number: str, text: str, hint: str | None = None) -> CheckMessage:
    return Error(text, hint=hint, id=f"filestack_tags.{number}")


def _warning(number: str, text: str, hint: str | None = None) -> CheckMessage:
    return Warning(text, hint=hint, id=f"filestack_tags.{number}")


@register(Tags.compatibility)
def check_settings(app_configs: AppConfigs = None, **kwargs: Any) -> list[CheckMessage]:
    """Check that every key is known and has a usable value (E001–E009, E012, E040–E042)."""
    try:
        values = configured()
    except ConfigurationError as error:
        return [_error("E001", str(error))]
    invalid = [
        _error("E002", f"{SETTING} has no key {key!r}.", hint)
        for key, hint in unknown_keys(values).items()
    ]
    invalid += wrong_values(values)
    if invalid:
        return invalid
    days = least_delivery_days()
    if days > get_settings().DELIVERY_RETENTION_DAYS:
        return [
            _error(
                "E041",
                f"{SETTING}['DELIVERY_RETENTION_DAYS'] is shorter than WEBHOOK_TOLERANCE, so a "
                "webhook could be applied again after its delivery was deleted.",
                f"Keep deliveries for {days} days or more, or lower WEBHOOK_TOLERANCE.",
            )
        ]
    return []


def _check(*tags: str, deploy: bool = False) -> Callable[..., Any]:
    """Register a generator that is called with the settings, once those are valid."""

    def decorate(check: Callable[[Settings], Messages]) -> Callable[..., list[CheckMessage]]:
        def run(app_configs: AppConfigs = None, **kwargs: Any) -> list[CheckMessage]:
            return [] if check_settings() else [*check(get_settings())]

        # Not functools.wraps(): Django would read the signature of the generator.
        run.__name__, run.__doc__ = check.__name__, check.__doc__
        return register(*tags, deploy=deploy)(run)

    return decorate


@_check(Tags.compatibility)
def check_tagger(settings: Settings) -> Messages:
    """Check that the taggers exist and have what they need (E010, E011, E017, E018, W001–W005)."""
    yield from _tagger_messages(settings)
    from .filestack.task_chains import fault_of  # not above: as in _tagger_messages

    for task in settings.TASKS_BEFORE_TAGS:
        if fault := fault_of(task):
            yield _error(
                "E018",
                f"{SETTING}['TASKS_BEFORE_TAGS']: {task[:60]!r} {fault}.",
                "Write a task as name or name=option:value, such as 'resize=h:2000'. Only tasks "
                "that return an image can precede tags.",
            )


@_check(Tags.compatibility)
def check_hosts(settings: Settings) -> Messages:
    """Check that all or none of Filestack's hosts are the emulator (W006)."""
    local = [name for name in URLS if is_loopback(getattr(settings, name))]
    others = [name for name in URLS if name not in local]
    if local and others:
        yield _warning(
            "W006",
            f"{SETTING}: {', '.join(local)} point to this machine, but {', '.join(others)} do not, "
            "so some calls and uploads go to the emulator and others to Filestack.",
            "Set all of them as the emulator prints them, or none.",
        )


@_check(Tags.compatibility)
def check_workflows(settings: Settings) -> Messages:
    """Check that rules can be parsed and workflows can be run (E020, E021)."""
    from .filestack.calls import is_identifier  # not above: as in _tagger_messages
    from .filestack.workflow_logic import parse_rule

    for name, text in settings.RULES.items():
        try:
            parse_rule(text)
        except RuleError as error:
            yield _error(
                "E020",
                f"{SETTING}['RULES'][{name!r}] cannot be parsed: {error.message}",
                f"Parsing stopped at character {error.position + 1} of {len(text)}. Runs do not "
                "record the outcome of this rule.",
            )
    ids = {f"['WORKFLOWS'][{name!r}]": key for name, key in settings.WORKFLOWS.items()}
    if settings.WORKFLOW_ID:
        ids["['WORKFLOW_ID']"] = settings.WORKFLOW_ID
    # A tagger's name has at most 100 characters.
    names = {
        f"['WORKFLOWS']: the name {name!r}": f"workflow.{name}" for name in settings.WORKFLOWS
    }
    for place, text in (ids | names).items():
        if not is_identifier(text):
            yield _error(
                "E021",
                f"{SETTING}{place} is not valid.",
                "Ids and names of workflows may contain letters, digits, '.', '-' and '_': up to "
                "100 characters for ids and 91 for names. The portal shows the id.",
            )


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
        _error(
            "E013",
            f"The database {connection.alias!r} uses the isolation level {level!r}, so counts and "
            "decisions of users could be overwritten with outdated values.",
            f"Remove OPTIONS['isolation_level'], or set it to {READ_COMMITTED!r}.",
        )
    ]


@_check(Tags.compatibility)
def check_sinks(settings: Settings) -> Messages:
    """Check that every sink can be created (E016)."""
    yield from (_error("E016", str(problem)) for problem in sinks.problems())


@_check(Tags.security)
def check_scope(settings: Settings) -> Messages:
    """Check that the ``ASSET_SCOPE`` function exists (E050)."""
    if settings.ASSET_SCOPE:
        try:
            visibility.hook(settings.ASSET_SCOPE)
        except ConfigurationError as error:
            hint = "Set the path of a function (user) -> Q | None: myproject.tenants.assets_of."
            yield _error("E050", str(error), hint)


@register(Tags.compatibility)
def check_celery(app_configs: AppConfigs = None, **kwargs: Any) -> list[CheckMessage]:
    """Check that the project has a Celery app that processes load by default (W013)."""
    if broker.has_celery_app():
        return []
    return [
        _warning(
            "W013",
            "The project has no Celery app, so tasks are sent to Celery's default broker and no "
            "file is tagged.",
            "Create yourproject/celery.py and import its app in yourproject/__init__.py: "
            "https://docs.celeryq.dev/en/stable/django/",
        )
    ]


@_check(Tags.compatibility)
def check_time_limits(settings: Settings) -> Messages:
    """Check that tasks may run longer than the calls that they wait for (W017, W018)."""
    call = settings.CONNECT_TIMEOUT + settings.READ_TIMEOUT
    soft, hard = tasks.time_limits()
    least = pipeline.SLICE + pipeline.GRACE + call + pipeline.APPLY_SECONDS
    if hard and hard < least:
        yield _warning(
            "W017",
            f"CELERY_TASK_TIME_LIMIT is {hard:g} seconds, so a worker may be killed while it waits "
            "for calls. Those calls are lost but charged.",
            f"Set it to {least:g} or more, or lower CONNECT_TIMEOUT and READ_TIMEOUT.",
        )
    if soft and soft < pipeline.SLICE:
        yield _warning(
            "W018",
            f"CELERY_TASK_SOFT_TIME_LIMIT is {soft:g} seconds, so each task ends early and leaves "
            "its work to another task.",
            f"Set it to {pipeline.SLICE:g} or more.",
        )


@_check(Tags.security)
def check_uploads(settings: Settings) -> Messages:
    """Check that ``STORAGE`` and ``UPLOAD_RULES`` fit ``ASSET_SCOPE`` (E051, E052, W050)."""
    try:
        Storage.of(settings.STORAGE)
    except ConfigurationError as error:
        hint = f"Correct {SETTING}['STORAGE']; see the settings page."
        yield _error("E051", str(error), hint)
    if settings.UPLOAD_RULES:
        try:
            upload_policy.hook(settings.UPLOAD_RULES)
        except ConfigurationError as error:
            hint = (
                "Set the path of a function (user, request) -> UploadRules | None: "
                "myproject.tenants.upload_rules."
            )
            yield _error("E052", str(error), hint)
    elif settings.ASSET_SCOPE:
        yield _warning(
            "W050",
            f"{SETTING}['ASSET_SCOPE'] limits what users see, but every user may upload to the "
            "same container and path, so files can be placed in another tenant's scope.",
            f"Set {SETTING}['UPLOAD_RULES']. Silence this check if your scope depends neither on "
            "the container nor on the key of a file.",
        )


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
    places = [name for name, charset in sets.items() if charset != "utf8mb4"]
    if columns:
        places.append(f"{len(columns)} columns, such as {columns[0]}")
    if not places:
        return []
    return [
        _warning(
            "W027",
            f"Not utf8mb4: {', '.join(places)} of {connection.alias!r}. Emoji and other characters "
            "of four bytes cannot be stored; names that contain them are changed.",
            "Convert the database and its tables before you migrate; see Databases in "
            "docs/production.md.",
        )
    ]


@register(Tags.database)
def check_operations(
    app_configs: AppConfigs = None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Check that all migrations are applied and no work is overdue (W020–W026).

    Runs where a database may be queried: ``manage.py check --database default``. ``migrate`` runs
    the same checks first, so it does not report missing migrations.
    """
    if alias() not in (databases or ()) or check_settings():
        return []
    try:
        missing = unapplied_migrations()
    except DatabaseError as error:
        text = f"The database {alias()!r} cannot be read ({type(error).__name__})."
        hint = "Check DATABASES, and that the database server is running."
        return [_warning("W026", text, hint)]
    if missing:
        if sys.argv[1:2] == ["migrate"]:
            return []
        text = f"The database {alias()!r} lacks migrations of filestack_tags: {', '.join(missing)}."
        return [_warning("W025", text, f"Run manage.py migrate --database {alias()}.")]
    with atomic():
        problems = report().problems
    return [
        _warning(_PROBLEMS[problem.code], problem.text)
        for problem in problems
        if problem.code in _PROBLEMS
    ]


_PROBLEMS = {
    "circuit_open": "W020",
    "budget_exhausted": "W021",
    "sweep_overdue": "W022",
    "inbox_late": "W023",
    "queue_late": "W024",
}


@_check(Tags.security, deploy=True)
def check_deployment(settings: Settings) -> Messages:
    """Check that webhooks are verified, calls encrypted, pages protected (W010–W015)."""
    if not any(settings.WEBHOOK_SECRETS):
        yield _warning(
            "W010",
            "No webhook secret is set, so every webhook is rejected with status 503.",
            f"Copy the webhook's secret from the Filestack portal to {SETTING}['WEBHOOK_SECRETS'].",
        )
    for name in URLS:
        if not getattr(settings, name).startswith("https://"):
            yield _warning(
                "W011",
                f"{SETTING}[{name!r}] does not use https, so policies and files are sent "
                "unencrypted.",
                "Use https; http is only for the emulator and development.",
            )
    if settings.WEBHOOK_TOLERANCE is None:
        yield _warning(
            "W014",
            "Webhooks of any age are accepted, so a recorded fp.delete takes effect again once its "
            "delivery is pruned.",
            f"Remove {SETTING}['WEBHOOK_TOLERANCE'], or set it to 46800 seconds or more.",
        )
    if getattr(django_settings, "CELERY_TASK_ALWAYS_EAGER", False):
        yield _warning(
            "W012",
            "CELERY_TASK_ALWAYS_EAGER makes requests wait for Filestack.",
            "Run a Celery worker, and Celery beat for the recovery task (sweep).",
        )
    if FRAMES not in django_settings.MIDDLEWARE:
        yield _warning(
            "W015",
            "Other sites can show the pages of the admin in a frame.",
            f"Add {FRAMES!r} to MIDDLEWARE.",
        )


def _tagger_messages(settings: Settings) -> Messages:
    for name in settings.TAGGERS:
        try:
            if name in BUILT_IN or not TAGGER_NAME.fullmatch(name):
                raise ConfigurationError("The name is not valid.")
            get_tagger(name)
        except FilestackTagsError as error:
            yield _error(
                "E017",
                f"{SETTING}['TAGGERS'][{name!r}]: {error}",
                "A name has at most 100 letters, digits, '-' and '_', and is not one of "
                f"{', '.join(BUILT_IN)}. Its value is the dotted path of a class or factory that "
                "takes no arguments.",
            )
    try:
        get_tagger(settings.TAGGER)
    except FilestackTagsError as error:
        yield _error("E010", str(error))
        return
    # Not above: it loads the HTTP client, which a process that only serves pages may not need.
    from .tagging.taggers.local import missing_packages

    if settings.TAGGER == "local" and (missing := missing_packages()):
        yield _error(
            "E011",
            f"The local tagger lacks {', '.join(missing)}.",
            "pip install 'django-filestack-tags[local]'",
        )
    is_built_in = settings.TAGGER.partition(":")[0] in BUILT_IN
    if is_built_in and settings.TAGGER != "local":
        for name in ("API_KEY", "APP_SECRET"):
            if not getattr(settings, name):
                yield _warning(
                    "W001",
                    f"{SETTING}[{name!r}] is empty, so no file can be tagged.",
                    "Copy it from the Filestack portal, or use the emulator's.",
                )
    if settings.TAGGER == "workflow" and not settings.WORKFLOW_ID:
        yield _warning(
            "W003",
            f"{SETTING}['WORKFLOW_ID'] is empty, so the workflow tagger has no workflow to run.",
            "Copy the id of a workflow with an Image Tagging task from the portal.",
        )
    if settings.RATE_LIMIT:
        yield from _rate_messages(settings)
    longest = settings.CONNECT_TIMEOUT + settings.READ_TIMEOUT
    if is_built_in and longest >= settings.LEASE_SECONDS:
        yield _warning(
            "W005",
            f"{SETTING}['LEASE_SECONDS'] is shorter than a call to Filestack may take, so a file "
            "could be tagged, and charged, twice.",
            f"Set it to more than CONNECT_TIMEOUT and READ_TIMEOUT, {longest:g} seconds.",
        )
    if settings.TAGS_VERSION == 1:
        yield _warning(
            "W002",
            "Version 1 of Filestack's image tagging is deprecated.",
            f"Remove {SETTING}['TAGS_VERSION'], or set it to 2.",
        )


def _rate_messages(settings: Settings) -> Messages:
    from .tagging.rate_limit import quota  # only where a rate is limited

    try:
        quota(settings.RATE_LIMIT)
    except ConfigurationError as error:
        yield _error("E030", str(error), "Leave it empty for no limit.")
        return
    if not settings.REDIS_URL:
        yield _warning(
            "W004",
            f"{SETTING}['REDIS_URL'] is empty, so each process applies RATE_LIMIT separately.",
            "Set the URL of a Redis server that all processes can reach, or divide the rate among "
            "them.",
        )
