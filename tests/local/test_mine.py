"""`make mine`: which names it takes. What it changes is in tests/shapes."""

import pytest

from local.generate.mine import check_names
from local.generate.repository import CommandError

TITLE = "Shop API"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "say, for example, NAME=shop"),
        *((name, "like shop or my-shop") for name in ("Shop", "shop_api", "s", "shop-", "1shop")),
        ("stationery-shops", "2 to 15 characters"),
        *((name, "SQL reserves") for name in ("order", "user", "lateral", "current-date")),
        *((name, "a database of this name already") for name in ("postgres", "template1")),
        *((name, "reserve names like pg") for name in ("pg", "pg-shop")),
        ("rds-shop", "reserve names like rds_shop_app"),
        *((name, "YAML takes") for name in ("no", "yes")),
    ],
)
def test_a_name_that_a_product_cannot_have_is_rejected(name: str, reason: str) -> None:
    with pytest.raises(CommandError, match=reason):
        check_names(name, TITLE)


@pytest.mark.parametrize("name", ["shop", "my-shop", "pgshop", "orders", "a1", "template2"])
def test_other_names_are_taken(name: str) -> None:
    check_names(name, TITLE)


@pytest.mark.parametrize(
    "title", ["", " Shop", "Shop\nAPI", 'The "Shop"', "Ada's", "a\\b", "x" * 61]
)
def test_a_title_that_some_file_cannot_have_is_rejected(title: str) -> None:
    with pytest.raises(CommandError, match="TITLE must be one line"):
        check_names("shop", title)


def test_other_titles_are_taken() -> None:
    check_names("shop", "Häberdashers & {stationers} API: $1, 100 %s, *all* <x> # y")
