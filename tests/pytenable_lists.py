"""Lists a simulator with the vendor's own client library, record by record, as one JSON document.

usage: pytenable_lists.py URL API_KEY

Fields have the API's own names again, and values the API's own spelling: what
differs from another client's list was read differently.
"""

import dataclasses
import datetime
import json
import sys
import warnings

warnings.simplefilter("ignore")

from tenable.ot import TenableOT  # noqa: E402

# Where the library's name is not the API's in other letters.
NAMES = {"src_ip": "srcIP", "dst_ip": "dstIP"}


def name(attribute):
    first, *rest = attribute.split("_")
    return NAMES.get(attribute, first + "".join(word.capitalize() for word in rest))


def plain(value):
    if dataclasses.is_dataclass(value):
        fields = dataclasses.fields(value)
        return {name(field.name): plain(getattr(value, field.name)) for field in fields}
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, datetime.datetime):
        text = value.astimezone(datetime.timezone.utc).replace(tzinfo=None).isoformat()
        return (text.rstrip("0") if "." in text else text) + "Z"
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)


def main():
    url, key = sys.argv[1:]
    tot = TenableOT(url=url, api_key=key, vendor="robocred", product="tests", build="1")
    assets = [plain(asset) for asset in tot.assets.list(limit=50)]
    details = {row["details"]["id"]: row["details"] for row in tot.exports.assets()}
    for asset in assets:
        # The free-form object as it came: the model of the list gives its keys other names.
        asset["details"] = details.pop(asset["id"])
    assert not details, "the two lists of the library differ"
    print(json.dumps({
        "assets": assets,
        "plugins": [plain(plugin) for plugin in tot.plugins.list(limit=25)],
        "events": [plain(event) for event in tot.events.list(limit=20)],
        "findings": list(tot.exports.findings()),
    }))


if __name__ == "__main__":
    main()
