"""The round trip of a generated Python client: register, decide, search, and get an error."""

import sys

from generated import AuthenticatedClient  # type: ignore[import-not-found]  # made by the test
from generated.api.assets import asset_create, asset_list, asset_tag_create
from generated.models import AddTag, Asset, AssetPage, Decided, Problem, Register

with AuthenticatedClient(sys.argv[1], token="cm9vdDpzZWNyZXQ=", prefix="Basic") as client:
    asset = asset_create.sync(client=client, body=Register(handle="fromPython"))
    assert isinstance(asset, Asset), asset
    made = asset_tag_create.sync(asset.id, client=client, body=AddTag(name="snake"))
    assert isinstance(made, Decided), made
    assert made.changed
    page = asset_list.sync(client=client, tag=["snake"])
    assert isinstance(page, AssetPage), page
    assert [found.reference for found in page.results] == ["fromPython"]
    assert [tag.name for tag in page.results[0].tags] == ["snake"]
    refused = asset_list.sync(client=client, q="snake=>80")
    assert isinstance(refused, Problem), refused
    assert refused.position == 6
