"""The users of the admin in these tests."""

from __future__ import annotations

from django.contrib.auth.models import Permission, User

PASSWORD = "correct horse battery staple"


def move_in() -> None:
    """Create the three users: admin, editor and viewer, each with :data:`PASSWORD`."""
    User.objects.create_superuser("admin", password=PASSWORD)
    ours = Permission.objects.filter(content_type__app_label="filestack_tags")
    editor = User.objects.create_user("editor", password=PASSWORD, is_staff=True)
    editor.user_permissions.set(ours.exclude(codename="search_hidden"))
    viewer = User.objects.create_user("viewer", password=PASSWORD, is_staff=True)
    viewer.user_permissions.set(ours.filter(codename__startswith="view_"))
