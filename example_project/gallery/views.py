"""Search, upload, and the pictures on both; only the public API of ``filestack_tags`` is used."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_safe

from example_project.gallery.forms import UploadForm
from example_project.gallery.models import Picture
from example_project.gallery.uploads import store
from filestack_tags.assets.thumbnails import has_thumbnail, thumbnail_response
from filestack_tags.exceptions import FilestackError, SearchError
from filestack_tags.models import Asset

PER_PAGE = 24
TAGS_SHOWN = 6
THUMBNAIL_HEIGHT = 480
EXAMPLES = ("animal>=80", "coffee OR mountain", "-animal gray", "untagged")


@dataclass(frozen=True)
class TagChip:
    name: str
    confidence: int
    search: str


@dataclass(frozen=True)
class Card:
    """The content of one picture's card on the search page."""

    title: str
    alt: str
    thumbnail: str | None
    state: str
    tags: list[TagChip]


@require_safe
def search(request: HttpRequest) -> HttpResponse:
    query = request.GET.get("q", "").strip()
    problem: SearchError | None = None
    assets = Asset.objects.present()
    try:
        assets = assets.search(query) if query else assets
    except SearchError as error:
        problem = error
        assets = assets.none()
    page = Paginator(assets.select_related("picture").with_visible_tags(), PER_PAGE).get_page(
        request.GET.get("page")
    )
    context = {
        "query": query,
        "page": page,
        "items": [_card(asset) for asset in page.object_list],
        "problem": problem,
        "pointer": " " * problem.position + "^" if problem else "",
        "examples": EXAMPLES,
    }
    return render(request, "gallery/search.html", context, status=400 if problem else 200)


@require_safe
def thumbnail(request: HttpRequest, pk: int) -> HttpResponse:
    """Return a thumbnail. The gallery is public, so there is nothing else to check."""
    asset = get_object_or_404(Asset.objects.present(), pk=pk)
    return thumbnail_response(request, asset, height=THUMBNAIL_HEIGHT)


@login_required
def upload(request: HttpRequest) -> HttpResponse:
    form = UploadForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        try:
            picture = store(form.cleaned_data["file"], form.cleaned_data["title"], request.user)
        except FilestackError as error:
            form.add_error(None, f"Filestack did not take the file. {error}")
        else:
            messages.success(
                request, f"“{picture.title}” is stored and will be tagged shortly."
            )
            return redirect("gallery:search")
    return render(request, "gallery/upload.html", {"form": form})


def _card(asset: Asset) -> Card:
    picture: Picture | None = getattr(asset, "picture", None)
    title = picture.title if picture else str(asset)
    return Card(
        title=title,
        alt=(picture.alt_text if picture else "") or title,
        thumbnail=reverse("gallery:thumbnail", args=(asset.pk,))
        if has_thumbnail(asset)
        else None,
        state=asset.get_tagging_state_display(),
        tags=[
            TagChip(row.tag.name, row.confidence, f'"{row.tag.name}">={row.confidence}')
            for row in asset.visible_tags[:TAGS_SHOWN]
        ],
    )
