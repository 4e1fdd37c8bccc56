"""The studies that come with sanggar: what they ask for is there, also of pictures that only few have."""

from __future__ import annotations

from pathlib import Path

import pytest

from gathering import encoded, write_celeba
from sanggar.studies.definition import read, read_options, shipped
from sanggar.studies.engine import check

OF_PUBLISHED = sorted(set(shipped()) - {"faces-vae", "celeba-vae"})


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root and a cache of one's own."""
    monkeypatch.setenv("SANGGAR_DATA", str(tmp_path))
    monkeypatch.setenv("SANGGAR_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_PUBLISHED)
def test_its_networks_are_measured_by_what_is_asked(name: str) -> None:
    budgets = read_options(name).budgets
    assert budgets.keys() >= {"quick", "full"} or name == "tour"
    check(read(name, "quick" if "quick" in budgets else "full"))


def test_faces_in_utkfaces_layout_are_measured_by_what_is_asked(places: Path) -> None:
    folder = places / "utkface-128" / "images"
    folder.mkdir(parents=True)
    rows = ["file,age,gender,ethnicity"]
    for index in range(40):
        (folder / f"{index:05d}.jpg").write_bytes(encoded(index, "JPEG", (128, 128)))
        rows.append(f"{index:05d}.jpg,{20 + index},{('female', 'male')[index % 2]},{'abcde'[index % 5]}")
    (places / "utkface-128" / "attributes.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    study = read("faces-vae", "quick")
    check(study)
    assert {cell.plan.spec.height for cell in study.cells} == {64}


@pytest.mark.slow
def test_celeba_in_its_publishers_layout_is_measured_by_what_is_asked(places: Path) -> None:
    write_celeba(places / "celeba", 40)
    study = read("celeba-vae", "quick")
    check(study)
    assert {(cell.plan.data.source, cell.plan.spec.height) for cell in study.cells} == {("celeba", 64)}
    assert read("celeba-vae").options.claims.keys() == read("faces-vae").options.claims.keys()
