"""What the memory stores of all kinds take."""

from __future__ import annotations

from pathlib import Path

import pytest

from praisonai_persistence import create_state_store
from praisonai_persistence.errors import ConfigurationError


@pytest.mark.parametrize("url", [Path("x"), 5])
def test_what_is_no_url_is_refused(url):
    with pytest.raises(ConfigurationError, match="a URL must be text"):
        create_state_store("memory", url)


def test_the_nearest_name_of_an_option_is_told():
    with pytest.raises(ConfigurationError, match="did you mean 'table_prefix'"):
        create_state_store("memory", table_perfix="x")
