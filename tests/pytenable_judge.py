"""Reads a simulator with the vendor's own client library and prints what it counted.

usage: pytenable_judge.py URL key API_KEY
       pytenable_judge.py URL pair CERT.pem KEY.pem
"""

import json
import sys
import warnings

warnings.simplefilter("ignore")

from tenable.ot import TenableOT  # noqa: E402


def connect(url, kind, *credential):
    if kind == "key":
        return TenableOT(url=url, api_key=credential[0], vendor="robocred", product="tests", build="1")
    tot = TenableOT(url=url, vendor="robocred", product="tests", build="1")
    tot._session.cert = tuple(credential)
    return tot


def main():
    tot = connect(*sys.argv[1:])
    assets = list(tot.assets.list(limit=50))
    one = list(tot.assets.asset(str(assets[0].id)))
    plugins = list(tot.plugins.list(limit=25))
    plugin = list(tot.plugins.plugin(plugins[0].id))
    print(json.dumps({
        "assets": len(assets),
        "asset_ids": len({asset.id for asset in assets}),
        "asset_again": one[0].name == assets[0].name,
        "plugins": len(plugins),
        "plugin_description": plugin[0].details.description,
        "events": len(list(tot.events.list(limit=20))),
        "exported_assets": len({row["details"]["id"] for row in tot.exports.assets()}),
        "exported_plugins": len(list(tot.exports.plugins())),
        "findings": len(list(tot.exports.findings())),
        "version": tot.get("v1/version")["Version"],
    }))


if __name__ == "__main__":
    main()
