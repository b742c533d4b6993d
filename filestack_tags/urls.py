"""The webhook's URL. The API has its own: ``filestack_tags.api.urls``."""

from django.urls import path

from .views import WebhookView

app_name = "filestack_tags"
webhook = WebhookView.as_view()
urlpatterns = [
    path("webhook/", webhook, name="webhook"),
    # A redirect would lose the body, so CommonMiddleware must not append a slash.
    path("webhook", webhook),
]
