"""The section about attributes: what linear probes tell of them, and whether single dimensions stand for them."""

from __future__ import annotations

from html import escape

from sanggar.reporting import labels
from sanggar.reporting.comparison import cells, comparable
from sanggar.reporting.figures import number, table
from sanggar.reporting.view import Views, value
from sanggar.results import NETWORK, PCA, Measurement

DISENTANGLEMENT = {
    "attributes.mig": "mutual information gap",
    "attributes.disentanglement": "DCI disentanglement",
    "attributes.completeness": "DCI completeness",
}


def attributes(views: Views) -> str | None:
    """Tables of probes and of disentanglement."""
    return _probes(views) + _disentanglement(views) or None


def _probes(views: Views) -> str:
    """What a linear probe tells of each attribute: of each network, of PCA of its size, of pixels."""
    having = [view for view in views if view.find("attributes.probe")]
    if not having:
        return ""
    names = list(dict.fromkeys(_attribute(m) for view in having for m in view.find("attributes.probe")))
    beside: dict[str, dict[str, str]] = {}
    for view in having:
        for m in view.find("attributes.probe"):
            if m.subject != NETWORK:
                size = f" of {escape(str(m.protocol.settings.get('size')))}" if m.subject == PCA else ""
                beside.setdefault(f"{escape(labels.subject(m.subject))}{size}", {})[_attribute(m)] = value(m)
    body = []
    for name in names:
        best = _best_probes(having, name)
        networks = [best.get(view.name, "—") for view in having]
        others = [cells_of.get(name, "—") for cells_of in beside.values()]
        body.append([f"{escape(name)} <small>{_scale(having, name)}</small>", *networks, *others])
    own = [escape(view.name) if len(views) > 1 else "the network" for view in having]
    ranked = " The best network of a row is bold, where their protocols are one." if len(having) > 1 else ""
    return table(["a linear probe of", *own, *beside], body) + (
        "<p class=note>Fitted on training pictures, measured on test. Balanced accuracy counts every value of an "
        "attribute alike; R² is the share of a number's variance that is explained. PCA stands beside at the size of "
        f"the latent space. In brackets: 95 % interval over the pictures; it says nothing of other seeds.{ranked}</p>"
    )


def _attribute(m: Measurement) -> str:
    return str(m.tags["attribute"])


def _best_probes(views: Views, attribute: str) -> dict[str, str]:
    """What each network tells of an attribute, a cell a run; the best of one protocol bold."""

    def wanted(m: Measurement) -> bool:
        return m.key == "attributes.probe" and m.subject == NETWORK and _attribute(m) == attribute

    best = dict[str, str]()
    for row in comparable(views, wanted):
        shown = zip(views, cells(row, views), strict=True)
        best |= {view.name: cell for view, cell in shown if view.name in row}
    return best


def _scale(views: Views, name: str) -> str:
    """What a probe of an attribute is scored by, and the score of guessing."""
    m = next(m for view in views for m in view.find("attributes.probe", attribute=name))
    settings = m.protocol.settings
    if settings.get("kind") == "number":
        return "R²; 0 is the mean"
    floor = settings.get("floor")
    return f"balanced accuracy; {number(floor, 2) if isinstance(floor, float) else '—'} is chance"


def _disentanglement(views: Views) -> str:
    """Disentanglement of each network, beside PCA."""
    body = []
    for view in views:
        for subject in (NETWORK, PCA):
            scores = [view.find(key, subject) for key in DISENTANGLEMENT]
            if any(scores):
                own = escape(view.name) if len(views) > 1 else "the network"
                beside = f" (beside {own})" if len(views) > 1 else ""
                name = own if subject == NETWORK else f"{labels.subject(PCA)}{beside}"
                body.append([name, *(value(found[0]) if found else "—" for found in scores)])
    if not body:
        return ""
    return table(["attributes as single dimensions", *DISENTANGLEMENT.values()], body) + (
        "<p class=note>1 where every attribute is a dimension of its own, 0 where no dimension says more of one than "
        "any other. Attributes that go together in the data keep even a perfect space below 1.</p>"
    )
