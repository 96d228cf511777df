from __future__ import annotations

from pathlib import Path

import pytest

from fleet_tui import settings
from fleet_tui.backend.errors import InvalidInput


def load(home: Path, text: str = "", env: dict[str, str] | None = None, flags: dict[str, object] | None = None) -> settings.Settings:
    if text:
        (home / "config").mkdir(exist_ok=True)
        (home / "config" / "fleet.toml").write_text(text)
    return settings.load({"FLEET_HOME": str(home), **(env or {})}, flags)


def test_defaults(tmp_path: Path) -> None:
    found = load(tmp_path)
    assert (found.site, found.read_only, found.refresh_s, found.keys) == ("", False, 5.0, {})
    assert found.directories.state == tmp_path
    assert found.isolated


def test_flags_win_over_environment_over_file(tmp_path: Path) -> None:
    text = 'theme = "file"\nsite = "file"\nrefresh = 9'
    found = load(tmp_path, text, {"FLEET_THEME": "env", "FLEET_SITE": "env"}, {"theme": "flag"})
    assert (found.theme, found.site, found.refresh_s) == ("flag", "env", 9.0)


def test_keys_are_a_table(tmp_path: Path) -> None:
    found = load(tmp_path, '[keys]\n"instance.provision" = "P"\n"list.filter" = ["/", "f3"]')
    assert found.keys == {"instance.provision": "P", "list.filter": "/,f3"}


@pytest.mark.parametrize(("text", "said"), [("them = 'x'", "'theme'"), ("read-only = true", "'read_only'"), ("zzzz = 1", "known are")])
def test_an_unknown_key_is_refused_naming_the_nearest(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as caught:
        load(tmp_path, text)
    assert "fleet.toml" in caught.value.message


@pytest.mark.parametrize("text", ["refresh = 0", "refresh = 'x'", "read_only = 'perhaps'", "theme = 3", "keys = 3", "site =", "\x00"])
def test_an_unusable_value_is_refused_with_its_source(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidInput, match=r"fleet\.toml"):
        load(tmp_path, text)


def test_a_locale_that_is_not_utf8_means_ascii(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings.locale, "getencoding", lambda: "ISO-8859-1")
    assert load(tmp_path).ascii
    assert not load(tmp_path, env={"FLEET_ASCII": "no"}).ascii
    monkeypatch.setattr(settings.locale, "getencoding", lambda: "UTF-8")
    assert not load(tmp_path).ascii


def test_the_stylesheets_are_found() -> None:
    assert settings.styles_directory().name == "styles"
