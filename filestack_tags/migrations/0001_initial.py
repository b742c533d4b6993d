import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

import filestack_tags.fields


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Backfill",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("query", models.TextField(blank=True, verbose_name="search")),
                ("options", models.JSONField(blank=True, default=dict, verbose_name="options")),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("running", "running"),
                            ("stopped", "stopped"),
                            ("finished", "finished"),
                        ],
                        default="running",
                        max_length=10,
                        verbose_name="state",
                    ),
                ),
                (
                    "position",
                    models.BigIntegerField(blank=True, null=True, verbose_name="position"),
                ),
                ("counts", models.JSONField(blank=True, default=dict, verbose_name="counts")),
                (
                    "started_at",
                    models.DateTimeField(
                        default=django.utils.timezone.now, verbose_name="started"
                    ),
                ),
                ("changed_at", models.DateTimeField(auto_now=True, verbose_name="changed")),
                (
                    "finished_at",
                    models.DateTimeField(blank=True, null=True, verbose_name="finished"),
                ),
            ],
            options={
                "verbose_name": "backfill",
                "verbose_name_plural": "backfills",
                "ordering": ("-id",),
            },
        ),
        migrations.CreateModel(
            name="Circuit",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "tagger",
                    filestack_tags.fields.ExactCharField(
                        max_length=100, unique=True, verbose_name="tagger"
                    ),
                ),
                (
                    "failures",
                    models.PositiveIntegerField(default=0, verbose_name="consecutive failures"),
                ),
                (
                    "opened_at",
                    models.DateTimeField(blank=True, null=True, verbose_name="paused since"),
                ),
                (
                    "opened_times",
                    models.PositiveIntegerField(default=0, verbose_name="failed retries"),
                ),
                (
                    "retry_at",
                    models.DateTimeField(blank=True, null=True, verbose_name="next retry"),
                ),
                (
                    "error_code",
                    models.CharField(blank=True, max_length=50, verbose_name="error code"),
                ),
                ("reason", models.TextField(blank=True, verbose_name="reason")),
            ],
            options={
                "verbose_name": "circuit breaker",
                "verbose_name_plural": "circuit breakers",
                "ordering": ("tagger",),
            },
        ),
        migrations.CreateModel(
            name="Heartbeat",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "name",
                    filestack_tags.fields.ExactCharField(
                        max_length=50, unique=True, verbose_name="name"
                    ),
                ),
                (
                    "at",
                    models.DateTimeField(
                        default=django.utils.timezone.now, verbose_name="last run"
                    ),
                ),
                ("found", models.JSONField(blank=True, default=dict, verbose_name="result")),
            ],
            options={
                "verbose_name": "scheduled task",
                "verbose_name_plural": "scheduled tasks",
                "ordering": ("name",),
            },
        ),
        migrations.CreateModel(
            name="Spending",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("day", models.DateField(unique=True, verbose_name="day (UTC)")),
                ("calls", models.PositiveIntegerField(default=0, verbose_name="calls")),
            ],
            options={
                "verbose_name": "daily usage",
                "verbose_name_plural": "daily usage",
                "ordering": ("-day",),
            },
        ),
        migrations.CreateModel(
            name="Asset",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("handle", "handle"),
                            ("url", "external URL"),
                            ("alias", "storage alias"),
                        ],
                        max_length=8,
                        verbose_name="kind",
                    ),
                ),
                (
                    "reference",
                    filestack_tags.fields.ExactCharField(
                        max_length=4096, verbose_name="reference"
                    ),
                ),
                (
                    "digest",
                    filestack_tags.fields.ExactCharField(
                        editable=False, max_length=64, unique=True
                    ),
                ),
                (
                    "filename",
                    models.CharField(blank=True, max_length=1024, verbose_name="file name"),
                ),
                ("mimetype", models.CharField(blank=True, max_length=255, verbose_name="type")),
                (
                    "size",
                    models.BigIntegerField(blank=True, null=True, verbose_name="size in bytes"),
                ),
                (
                    "width",
                    models.PositiveIntegerField(blank=True, null=True, verbose_name="width"),
                ),
                (
                    "height",
                    models.PositiveIntegerField(blank=True, null=True, verbose_name="height"),
                ),
                (
                    "sha256",
                    filestack_tags.fields.ExactCharField(
                        blank=True,
                        db_index=True,
                        max_length=64,
                        null=True,
                        verbose_name="SHA-256",
                    ),
                ),
                (
                    "container",
                    models.CharField(blank=True, max_length=255, verbose_name="container"),
                ),
                (
                    "key",
                    models.CharField(blank=True, max_length=1024, verbose_name="storage key"),
                ),
                (
                    "store_status",
                    models.CharField(blank=True, max_length=32, verbose_name="store status"),
                ),
                (
                    "upload_tags",
                    models.JSONField(blank=True, default=dict, verbose_name="upload tags"),
                ),
                (
                    "uploaded_at",
                    models.DateTimeField(
                        db_index=True,
                        default=django.utils.timezone.now,
                        verbose_name="uploaded",
                    ),
                ),
                ("facts_at", models.DateTimeField(editable=False, null=True)),
                (
                    "content_version",
                    models.PositiveIntegerField(default=1, verbose_name="content version"),
                ),
                (
                    "content_changed_at",
                    models.DateTimeField(blank=True, null=True, verbose_name="content changed"),
                ),
                (
                    "tagging_state",
                    models.CharField(
                        choices=[
                            ("new", "never tagged"),
                            ("queued", "queued"),
                            ("running", "running"),
                            ("tagged", "tagged"),
                            ("stale", "stale: the file changed"),
                            ("failed", "failed"),
                        ],
                        default="new",
                        max_length=8,
                        verbose_name="tagging",
                    ),
                ),
                ("due_at", models.DateTimeField(blank=True, null=True, verbose_name="due")),
                (
                    "attempts",
                    models.PositiveSmallIntegerField(default=0, verbose_name="attempts"),
                ),
                (
                    "queued_by",
                    models.CharField(blank=True, max_length=10, verbose_name="queued by"),
                ),
                (
                    "queued_for",
                    models.CharField(blank=True, max_length=100, verbose_name="queued for"),
                ),
                ("last_error", models.TextField(blank=True, verbose_name="last error")),
                (
                    "tags_version",
                    models.PositiveIntegerField(
                        default=0, verbose_name="content version of the tags"
                    ),
                ),
                ("tags_at", models.DateTimeField(blank=True, null=True, verbose_name="tagged")),
                (
                    "created_at",
                    models.DateTimeField(auto_now_add=True, verbose_name="registered"),
                ),
                ("changed_at", models.DateTimeField(auto_now=True, verbose_name="changed")),
                (
                    "deleted_at",
                    models.DateTimeField(blank=True, null=True, verbose_name="archived"),
                ),
                (
                    "uploader",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="uploaded by",
                    ),
                ),
            ],
            options={
                "verbose_name": "asset",
                "verbose_name_plural": "assets",
                "ordering": ("-id",),
                "permissions": (
                    ("tag_asset", "Can tag assets"),
                    ("search_hidden", "Can search hidden tags"),
                ),
            },
        ),
        migrations.CreateModel(
            name="Tag",
            fields=[
                ("id", models.AutoField(primary_key=True, serialize=False)),
                (
                    "key",
                    filestack_tags.fields.ExactCharField(
                        max_length=200, unique=True, verbose_name="key"
                    ),
                ),
                ("name", models.CharField(max_length=200, verbose_name="name")),
                (
                    "min_confidence",
                    models.PositiveSmallIntegerField(
                        blank=True,
                        help_text="Overrides the global minimum for this tag. Tags below "
                        "the minimum are hidden, not deleted.",
                        null=True,
                        verbose_name="minimum confidence",
                    ),
                ),
                (
                    "hidden",
                    models.BooleanField(
                        default=False,
                        help_text="Hidden tags are stored, but they are not shown and "
                        "searches do not find them.",
                        verbose_name="hidden",
                    ),
                ),
                ("asset_count", models.PositiveIntegerField(default=0, verbose_name="assets")),
            ],
            options={
                "verbose_name": "tag",
                "verbose_name_plural": "tags",
                "ordering": ("key",),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("min_confidence", None),
                            models.Q(("min_confidence__gte", 0), ("min_confidence__lte", 100)),
                            _connector="OR",
                        ),
                        name="fst_tag_min_confidence",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="TagAlias",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "key",
                    filestack_tags.fields.ExactCharField(
                        max_length=200, unique=True, verbose_name="key"
                    ),
                ),
                (
                    "tag",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="aliases",
                        to="filestack_tags.tag",
                        verbose_name="tag",
                    ),
                ),
            ],
            options={
                "verbose_name": "tag alias",
                "verbose_name_plural": "tag aliases",
                "ordering": ("key",),
            },
        ),
        migrations.CreateModel(
            name="TaggingRun",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("tagger", models.CharField(max_length=100, verbose_name="tagger")),
                (
                    "version",
                    models.PositiveSmallIntegerField(
                        blank=True, null=True, verbose_name="version"
                    ),
                ),
                (
                    "trigger",
                    models.CharField(
                        choices=[
                            ("upload", "upload"),
                            ("overwrite", "overwrite"),
                            ("workflow", "workflow"),
                            ("admin", "admin"),
                            ("api", "API"),
                            ("command", "command"),
                            ("code", "code"),
                        ],
                        max_length=10,
                        verbose_name="trigger",
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("started", "started"),
                            ("succeeded", "succeeded"),
                            ("superseded", "superseded by a newer result"),
                            ("failed", "failed"),
                        ],
                        default="started",
                        max_length=10,
                        verbose_name="state",
                    ),
                ),
                (
                    "content_version",
                    models.PositiveIntegerField(verbose_name="content version"),
                ),
                (
                    "workflow_id",
                    models.CharField(blank=True, max_length=100, verbose_name="workflow"),
                ),
                (
                    "job_id",
                    filestack_tags.fields.ExactCharField(
                        blank=True, max_length=100, null=True, unique=True, verbose_name="job"
                    ),
                ),
                (
                    "rule_results",
                    models.JSONField(blank=True, default=dict, verbose_name="rules"),
                ),
                ("raw_reply", models.TextField(blank=True, verbose_name="raw reply")),
                (
                    "http_status",
                    models.PositiveSmallIntegerField(
                        blank=True, null=True, verbose_name="HTTP status"
                    ),
                ),
                (
                    "error_code",
                    models.CharField(blank=True, max_length=50, verbose_name="error code"),
                ),
                ("error_text", models.TextField(blank=True, verbose_name="error")),
                (
                    "started_at",
                    models.DateTimeField(
                        default=django.utils.timezone.now, verbose_name="started"
                    ),
                ),
                (
                    "finished_at",
                    models.DateTimeField(blank=True, null=True, verbose_name="finished"),
                ),
                (
                    "result_at",
                    models.DateTimeField(
                        blank=True, null=True, verbose_name="time of the result"
                    ),
                ),
                (
                    "asset",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="runs",
                        to="filestack_tags.asset",
                        verbose_name="asset",
                    ),
                ),
                (
                    "shared_from",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="filestack_tags.taggingrun",
                        verbose_name="shared from",
                    ),
                ),
            ],
            options={
                "verbose_name": "tagging run",
                "verbose_name_plural": "tagging runs",
                "ordering": ("-id",),
            },
        ),
        migrations.AddField(
            model_name="asset",
            name="current_run",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to="filestack_tags.taggingrun",
                verbose_name="current run",
            ),
        ),
        migrations.CreateModel(
            name="TagStatistic",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "tag_id",
                        "score",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("score", models.PositiveSmallIntegerField(verbose_name="score")),
                ("assets", models.PositiveIntegerField(verbose_name="assets")),
                (
                    "tag",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="filestack_tags.tag",
                    ),
                ),
            ],
            options={
                "verbose_name": "tag statistic",
                "verbose_name_plural": "tag statistics",
            },
        ),
        migrations.CreateModel(
            name="WebhookDelivery",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "event_key",
                    filestack_tags.fields.ExactCharField(
                        max_length=200, unique=True, verbose_name="event key"
                    ),
                ),
                ("action", models.CharField(blank=True, max_length=100, verbose_name="action")),
                ("headers", models.JSONField(default=dict, verbose_name="headers")),
                ("raw_body", models.BinaryField(verbose_name="raw body")),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("received", "received"),
                            ("processing", "processing"),
                            ("processed", "processed"),
                            ("ignored", "ignored"),
                            ("failed", "failed"),
                        ],
                        default="received",
                        max_length=10,
                        verbose_name="state",
                    ),
                ),
                ("due_at", models.DateTimeField(blank=True, null=True, verbose_name="due")),
                (
                    "attempts",
                    models.PositiveSmallIntegerField(default=0, verbose_name="attempts"),
                ),
                (
                    "duplicates",
                    models.PositiveIntegerField(default=0, verbose_name="duplicates"),
                ),
                ("outcome", models.TextField(blank=True, verbose_name="outcome")),
                ("error", models.TextField(blank=True, verbose_name="error")),
                (
                    "received_at",
                    models.DateTimeField(
                        db_index=True,
                        default=django.utils.timezone.now,
                        verbose_name="received",
                    ),
                ),
                (
                    "processed_at",
                    models.DateTimeField(blank=True, null=True, verbose_name="processed"),
                ),
                (
                    "asset",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="deliveries",
                        to="filestack_tags.asset",
                        verbose_name="asset",
                    ),
                ),
            ],
            options={
                "verbose_name": "webhook delivery",
                "verbose_name_plural": "webhook deliveries",
                "ordering": ("-id",),
                "permissions": (("replay_webhookdelivery", "Can replay webhook deliveries"),),
            },
        ),
        migrations.AddField(
            model_name="taggingrun",
            name="delivery",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="runs",
                to="filestack_tags.webhookdelivery",
                verbose_name="delivery",
            ),
        ),
        migrations.CreateModel(
            name="AssetTag",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "asset_id",
                        "tag_id",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("confidence", models.PositiveSmallIntegerField(verbose_name="confidence")),
                ("score", models.SmallIntegerField(editable=False, verbose_name="score")),
                (
                    "source",
                    models.PositiveSmallIntegerField(
                        choices=[(0, "auto"), (1, "user")], default=0, verbose_name="source"
                    ),
                ),
                (
                    "decision",
                    models.PositiveSmallIntegerField(
                        choices=[(0, "none"), (1, "accepted"), (2, "rejected"), (3, "added")],
                        default=0,
                        verbose_name="decision",
                    ),
                ),
                (
                    "decided_at",
                    models.DateTimeField(blank=True, null=True, verbose_name="reviewed"),
                ),
                (
                    "asset",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="asset_tags",
                        to="filestack_tags.asset",
                    ),
                ),
                (
                    "decided_by",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="reviewed by",
                    ),
                ),
                (
                    "tag",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="asset_tags",
                        to="filestack_tags.tag",
                    ),
                ),
                (
                    "run",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="filestack_tags.taggingrun",
                        verbose_name="run",
                    ),
                ),
            ],
            options={
                "verbose_name": "asset tag",
                "verbose_name_plural": "asset tags",
                "indexes": [
                    models.Index(fields=["tag", "asset", "score"], name="fst_tag_asset_score"),
                    models.Index(fields=["tag", "score", "asset"], name="fst_tag_score_asset"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("confidence__gte", 0), ("confidence__lte", 100)),
                        name="fst_assettag_confidence",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("score", -1),
                            models.Q(
                                ("score", models.F("confidence")),
                                models.Q(("decision", 2), _negated=True),
                            ),
                            _connector="OR",
                        ),
                        name="fst_assettag_score",
                    ),
                ],
            },
        ),
        migrations.AddIndex(
            model_name="asset",
            index=models.Index(fields=["tagging_state", "-id"], name="fst_asset_state"),
        ),
        migrations.AddIndex(
            model_name="asset",
            index=models.Index(fields=["due_at"], name="fst_asset_due"),
        ),
        migrations.AddIndex(
            model_name="asset",
            index=models.Index(fields=["mimetype", "-id"], name="fst_asset_mimetype"),
        ),
        migrations.AddIndex(
            model_name="webhookdelivery",
            index=models.Index(fields=["state", "-id"], name="fst_delivery_state"),
        ),
        migrations.AddIndex(
            model_name="webhookdelivery",
            index=models.Index(fields=["action", "-id"], name="fst_delivery_action"),
        ),
        migrations.AddIndex(
            model_name="webhookdelivery",
            index=models.Index(fields=["due_at"], name="fst_delivery_due"),
        ),
        migrations.AddIndex(
            model_name="taggingrun",
            index=models.Index(fields=["state", "-id"], name="fst_run_state"),
        ),
        migrations.AddIndex(
            model_name="taggingrun",
            index=models.Index(fields=["workflow_id", "state"], name="fst_run_workflow"),
        ),
    ]
