"""Have PostgreSQL leave room beside each tag for its next version.

Every reply counts some tags up. With room in the page a new version needs no new entries in the
tag's indexes, so counting, and checking references to the tags, costs less.
"""

from __future__ import annotations

from typing import Any

from django.db import migrations


def leave_room(apps: Any, schema_editor: Any) -> None:
    _alter(apps, schema_editor, "SET (fillfactor = 50)")


def leave_none(apps: Any, schema_editor: Any) -> None:
    _alter(apps, schema_editor, "RESET (fillfactor)")


def _alter(apps: Any, schema_editor: Any, change: str) -> None:
    if schema_editor.connection.vendor == "postgresql":
        table = schema_editor.quote_name(apps.get_model("filestack_tags", "Tag")._meta.db_table)
        schema_editor.execute(f"ALTER TABLE {table} {change}")


class Migration(migrations.Migration):
    dependencies = [
        ("filestack_tags", "0001_initial"),
    ]

    operations = [
        migrations.RunPython(leave_room, leave_none, elidable=False),
    ]
