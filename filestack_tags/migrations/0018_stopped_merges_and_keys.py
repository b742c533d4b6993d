from typing import Any

from django.db import migrations, models

import filestack_tags.fields


def clear_keys(apps: Any, schema_editor: Any) -> None:
    """Clear the keys of earlier jobs, which were unique only for each user.

    Keys are for a request that is repeated at once; the jobs themselves stay.
    """
    jobs = apps.get_model("filestack_tags", "BulkJob").objects
    jobs.using(schema_editor.connection.alias).exclude(key=None).update(key=None)


class Migration(migrations.Migration):
    dependencies = [
        ("filestack_tags", "0017_replicas"),
    ]

    operations = [
        migrations.RemoveConstraint(model_name="bulkjob", name="fst_job_key"),
        migrations.RunPython(clear_keys, migrations.RunPython.noop, elidable=True),
        migrations.AlterField(
            model_name="bulkjob",
            name="key",
            field=filestack_tags.fields.IdentifierField(
                blank=True,
                editable=False,
                max_length=64,
                null=True,
                unique=True,
                verbose_name="idempotency key",
            ),
        ),
        migrations.AddField(
            model_name="tagmerge",
            name="error",
            field=models.TextField(blank=True, default="", verbose_name="error"),
        ),
        migrations.AddField(
            model_name="tagmerge",
            name="needs_user",
            field=models.BooleanField(default=False, editable=False),
        ),
    ]
