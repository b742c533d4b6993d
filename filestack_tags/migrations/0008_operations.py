from django.db import migrations, models

import filestack_tags.fields


class Migration(migrations.Migration):
    dependencies = (("filestack_tags", "0007_model_files"),)

    operations = (
        migrations.AddField(
            model_name="asset",
            name="error_code",
            field=filestack_tags.fields.ExactCharField(
                blank=True, default="", max_length=50, verbose_name="error code"
            ),
        ),
        migrations.AddField(
            model_name="webhookdelivery",
            name="error_code",
            field=filestack_tags.fields.ExactCharField(
                blank=True, default="", max_length=50, verbose_name="error code"
            ),
        ),
        migrations.AddField(
            model_name="tagmerge",
            name="pruned_at",
            field=models.DateTimeField(blank=True, null=True, verbose_name="pruned"),
        ),
    )
