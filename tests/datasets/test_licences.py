from typing import get_args

import pytest

from cladeclip.config.values import Licence
from cladeclip.datasets.licences import LICENCES, licence_of, strictest


def test_the_config_knows_all_licences():
    assert get_args(Licence) == tuple(LICENCES)


@pytest.mark.parametrize(
    ("said", "licence"),
    [
        ("http://creativecommons.org/licenses/by-nc/4.0/legalcode", "cc-by-nc"),
        ("https://creativecommons.org/licenses/by/2.0/fr/", "cc-by"),
        ("https://creativecommons.org/licenses/by-nc-sa/3.0/", "cc-by-nc-sa"),
        ("http://creativecommons.org/licenses/by-nc-nd/2.5/ca/", "cc-by-nc-nd"),
        ("http://creativecommons.org/publicdomain/zero/1.0/", "cc0"),
        ("http://creativecommons.org/publicdomain/mark/1.0/", "public-domain"),
        ("CC BY-NC-SA 4.0", "cc-by-nc-sa"),
        ("CC_BY_NC_4_0", "cc-by-nc"),
        ("CC0_1_0", "cc0"),
        ("CC0 1.0 Universal", "cc0"),
        ("cc-by-sa-4.0", "cc-by-sa"),
        ("by-nc-nd", "cc-by-nc-nd"),
        ("Attribution-NonCommercial-ShareAlike 4.0 International (CC BY-NC-SA 4.0)", "cc-by-nc-sa"),
        ("Creative Commons Attribution-NoDerivs", "cc-by-nd"),
        ("Creative Commons Attribution Non Commercial", "cc-by-nc"),
        ("Public Domain", "public-domain"),
        ("No known copyright restrictions", "public-domain"),
        ("no rights reserved", "cc0"),
        ("", "unknown"),
        ("unspecified", "unknown"),
        # What takes back what it gives, or gives nothing.
        ("© Jane Doe, all rights reserved", "other"),
        ("Usage conditions apply", "other"),
        ("NO RIGHTS", "other"),
        ("not in the public domain", "other"),
        ("CC BY, but commercial use needs our permission", "other"),
        ("Not-for-profit use", "other"),
        ("http://rightsstatements.org/vocab/InC/1.0/", "other"),
        ("http://creativecommons.org/licenses/nc-sa/1.0/", "other"),
        ("Copyright by the Museum of Bycatch", "other"),
        ("GBIF", "other"),
        ("CC BY, no commercial use", "other"),
        ("CC BY, commercial use prohibited", "other"),
        ("CC BY commercial use requires a fee", "other"),
        ("CC BY-NonCom", "other"),
        ("CC BY for educational use", "other"),
        ("CC BY 4.0 for metadata; images © Museum", "other"),
        ("CC0 (data); images copyright X", "other"),
        ("CC0 or CC BY", "other"),
        ("public domain, not for sale", "other"),
        ("(c) Jane Doe, some rights reserved (CC BY-NC)", "cc-by-nc"),
        ("(c) Jane Doe, all rights reserved", "other"),
        ("https://creativecommons.org/licenses/by-nc/4.0/deed.de", "cc-by-nc"),
        ("Creative Commons Attribution 4.0 International License", "cc-by"),
        ("Licensed under CC BY 4.0", "cc-by"),
    ],
)
def test_licences_are_known_by_address_abbreviation_and_words(said, licence):
    assert licence_of(said) == licence
    assert licence_of(f"  {said.upper()} ") == licence


@pytest.mark.parametrize("conditions", ["by", "by-sa", "by-nd", "by-nc", "by-nc-sa", "by-nc-nd"])
@pytest.mark.parametrize("version", ["1.0", "2.0", "2.5", "3.0", "4.0"])
@pytest.mark.parametrize("form", ["http://creativecommons.org/licenses/{}/{}/", "CC-{}-{}", "CC {} {}", "cc_{}_{}"])
def test_every_licence_of_creative_commons_in_every_form(conditions, version, form):
    assert licence_of(form.format(conditions, version)) == f"cc-{conditions}"


def test_the_strictest_licence_is_the_one_that_allows_least():
    assert strictest(["cc-by", "cc0", "cc-by-nc"]) == "cc-by-nc"
    assert strictest(["cc-by-nc-nd", "unknown", "other"]) == "unknown"
    assert strictest(["cc0"]) == "cc0"
