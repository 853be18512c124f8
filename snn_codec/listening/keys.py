"""The key of a test, `key.json`, which says which sound is which; listeners never see it.

test        its name
items       what each item was made from
versions    for each sound to be rated: its item, its condition, and what is known of it
references  for each item: the sound that is shown as its reference
codes       for each condition: its name in webMUSHRA
"""

from __future__ import annotations

import json
import random
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from snn_codec.errors import UserError

FILE = "key.json"
REFERENCE, LOW_ANCHOR, MID_ANCHOR, DEGRADED = "reference", "anchor35", "anchor70", "degraded"
BUILT_IN = (REFERENCE, LOW_ANCHOR, MID_ANCHOR, DEGRADED)


def new(
    name: str, items: Mapping[str, dict[str, Any]], versions: Mapping[tuple[str, str], dict[str, Any]]
) -> dict[str, Any]:
    """Make a key that gives every sound a random name, in random order.

    Args:
        items: What is known of each item.
        versions: What is known of each item's sound in each condition.
    """
    conditions = list(dict.fromkeys(condition for _, condition in versions if condition != REFERENCE))
    codes = [f"C{number + 1}" for number in range(len(conditions))]
    random.SystemRandom().shuffle(codes)
    named = {
        secrets.token_hex(8): {"item": item, "condition": condition, **known}
        for (item, condition), known in versions.items()
    }
    return {
        "test": name,
        "items": dict(items),
        "codes": dict(zip(conditions, codes, strict=True)),
        "references": {item: secrets.token_hex(8) for item in items},
        "versions": dict(sorted(named.items())),
    }


def read(test: Path) -> dict[str, Any]:
    """Read the key of a test.

    Raises:
        UserError: There is none, or it is damaged.
    """
    try:
        key = json.loads((test / FILE).read_text(encoding="utf-8"))
        return {name: key[name] for name in ("test", "versions", "references", "codes")}
    except OSError as error:
        raise UserError(
            f"{test}: is not a listening test (no {FILE}); make one with snn-codec listen build"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{test / FILE}: is damaged ({error}); build the test again") from error
