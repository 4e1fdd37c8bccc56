"""What a search found, as a page and in Markdown: what won, what it is worth on fresh seeds, and what mattered."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape

import numpy as np
from matplotlib import colormaps, rc_context

from sanggar.reporting import labels
from sanggar.reporting.figures import LINES, STYLE, axes, number, svg
from sanggar.results import NETWORK, Measurement
from sanggar.results.stored import read
from sanggar.runs import Run
from sanggar.studies.page import Lines, as_table, paragraphs, piped, rendered
from sanggar.studies.search import FRESH, Found, Trial
from sanggar.studies.space import Choice, Range


def _test(found: Found) -> str:
    """What was measured on test pictures."""
    others = (
        f"and {found.tested_before} that were chosen when the search was shorter" if found.tested_before
        else "and no other"
    )  # fmt: skip
    return f"Measured on test pictures was the chosen setting, by seeds that the search did not use, {others}."


def markdown(found: Found) -> str:
    """All of it as Markdown."""
    parts = [f"## {_title(found)}", _about(found)]
    if found.again:
        parts += ["### The best, trained again", piped(_again(found)), _curse(found)]
    if found.chosen is not None:
        parts += ["### On test", _test(found), piped(_on_test(found)), "```yaml", best_recipe(found).strip(), "```"]
    parts += ["### Importance", _importance(found)]
    parts += ["### Trials", piped(_trials(found))]
    return "\n\n".join(parts).replace("```yaml\n\n", "```yaml\n").replace("\n\n```", "\n```") + "\n"


def page(found: Found) -> str:
    """All of it as HTML."""
    sections = [_section("search", "The search", paragraphs(_about(found)) + _history(found))]
    if found.again:
        html = as_table(_again(found)) + paragraphs(_curse(found))
        sections.append(_section("again", "The best, trained again", html))
    if found.chosen is not None:
        html = paragraphs(_test(found)) + as_table(_on_test(found)) + paragraphs("The recipe, ready to run:")
        sections.append(_section("test", "On test", html + f"<pre>{escape(best_recipe(found))}</pre>"))
    sections.append(_section("varied", "What was varied", _parallel(found) + paragraphs(_importance(found))))
    sections.append(_section("trials", "Trials", as_table(_trials(found))))
    return rendered(_title(found), sections)


def best_recipe(found: Found) -> str:
    """The chosen setting as a recipe that runs."""
    assert found.chosen is not None
    plan = found.search.space.plan(found.chosen.trial.setting)
    return plan.yaml().replace(f"name: {plan.name}\n", f"name: {plan.name}-best\n", 1)


def _section(key: str, title: str, html: str) -> dict[str, str]:
    return {"key": key, "title": title, "html": html}


def _title(found: Found) -> str:
    return f"{found.search.space.base.name}: a search"


def _about(found: Found) -> str:
    search = found.search
    varied = "; ".join(f"{key} in {of}" for key, of in search.space.varied.items())
    failed = sum(bool(trial.trouble) for trial in found.trials)
    halving = " by successive halving: one in three goes on, three times as far, twice" if search.halving else ""
    return (
        f"{len(found.trials)} trials{f', {failed} of them failed' if failed else ''}{halving}, proposed by "
        f"{search.sampler} with seed {search.seed}, to {search.direction} {search.objective} on validation pictures. "
        f"Varied: {varied}."
    )


def _again(found: Found) -> Lines:
    """The best settings: as found, and by seeds that the search did not use."""
    lines = [["trial", "setting", "found", f"{FRESH} fresh seeds", ""]]
    for again in found.again:
        each = ", ".join(number(value, 4) for value in again.values.values())
        mean = "—" if again.mean is None else f"{number(again.mean, 4)} ({each})"
        chosen = "chosen" if again is found.chosen else ""
        assert again.trial.value is not None
        lines.append([str(again.trial.number), _setting(again.trial), number(again.trial.value, 4), mean, chosen])
    return lines


def _curse(found: Found) -> str:
    """The winner's curse: what the best of many was found at, and what it comes to where luck did not choose it."""
    first = found.again[0]
    if first.mean is None or first.trial.value is None:
        return "The best trial could not be trained again, so that nothing is said of what its value is worth."
    apart = first.mean - first.trial.value
    worse = apart > 0 if found.search.direction == "minimize" else apart < 0
    side = "worse" if worse else "better" if apart else "apart"
    return (
        f"The best trial was found at {number(first.trial.value, 4)} and comes to {number(first.mean, 4)} by {FRESH} "
        f"fresh seeds: {number(abs(apart), 2)} {side}. The best of many trials looks better than it is, since luck is "
        "chosen along with the setting."
    )


def _on_test(found: Found) -> Lines:
    """What the chosen one was measured at on test, over its seeds."""
    assert found.chosen is not None
    by_key: dict[str, list[Measurement]] = {}
    for folder in found.chosen.folders.values():
        for m in read(Run(folder)).measurements:
            if m.subject == NETWORK and not m.tags:
                by_key.setdefault(m.key, []).append(m)
    lines = [["measured on test", "mean ± deviation over seeds", "n"]]
    for several in by_key.values():
        values = [m.value for m in several]
        spread = f" ± {number(float(np.std(values, ddof=1)), 2)}" if len(values) > 1 else ""
        counts = sorted({m.protocol.n for m in several})
        lines.append([labels.label_with_subject(several[0]), f"{number(float(np.mean(values)), 4)}{spread}",
                      ", ".join(map(str, counts))])  # fmt: skip
    return lines


def _importance(found: Found) -> str:
    if not found.importance:
        return (
            "What share of the objective's variance each explains is not said: that takes ten trials, and two keys "
            "that all of them have."
        )
    told = ", ".join(f"{key} {share:.2f}" for key, share in found.importance.items())
    return f"Share of the objective's variance over these trials that each explains (fANOVA): {told}."


def _trials(found: Found) -> Lines:
    lines = [["trial", "setting", found.search.objective, ""]]
    for trial in found.trials:
        rung = f"left after {share:.0%} of its training" if (share := _share(found, trial)) < 1 else ""
        value = "—" if trial.value is None else number(trial.value, 4)
        lines.append([str(trial.number), _setting(trial), value, trial.trouble or rung])
    return lines


def _share(found: Found, trial: Trial) -> float:
    """How far a trial was trained."""
    return found.search.shares()[len(trial.values) - 1] if trial.values else 1.0


def _setting(trial: Trial) -> str:
    return ", ".join(f"{key} {_plainly(value)}" for key, value in trial.setting.items())


def _plainly(value: object) -> str:
    return number(value, 3) if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)


# -- charts ----------------------------------------------------------------------------------------------------


def _history(found: Found) -> str:
    """Value of each trial at the first rung, and the best so far."""
    told = [(trial.number, trial.values[0]) for trial in found.trials if trial.values]
    if not told:
        return ""
    numbers, values = zip(*told, strict=True)
    so_far = (np.minimum if found.search.direction == "minimize" else np.maximum).accumulate(values)
    figure, ax = axes(height=2.4)
    with rc_context(STYLE):
        ax.plot(numbers, values, "o", color=LINES[0], alpha=0.6, markersize=4, label="trial")
        ax.step(numbers, so_far, where="post", color=LINES[1], label="best so far")
        ax.set(xlabel="trial", ylabel=found.search.objective)
        ax.legend()
    return svg(figure, f"{found.search.objective} by trial, and the best so far: {number(so_far[-1], 4)}.")


def _parallel(found: Found) -> str:
    """Parallel coordinates: a line a trial through what it varied, in the colour of what it came to."""
    whole = [trial for trial in found.trials if trial.values]
    if not whole:
        return ""
    values = np.array([trial.values[0] for trial in whole])
    good = values.argsort(kind="stable").argsort() / max(len(values) - 1, 1)  # by rank: one bad trial tells nothing
    if found.search.direction == "minimize":
        good = 1 - good
    varied = found.search.space.varied
    figure, ax = axes(height=3.2)
    with rc_context(STYLE):
        colours = colormaps["viridis"]
        for trial, shade in sorted(zip(whole, good, strict=True), key=lambda pair: pair[1]):
            known = [(x, key, of) for x, (key, of) in enumerate(varied.items()) if key in trial.setting]
            there = [(x, _place(trial.setting[key], of)) for x, key, of in known]
            ax.plot(*zip(*there, (len(varied), shade), strict=True), "-o", color=colours(shade), alpha=0.7, linewidth=1,
                    markersize=3)  # fmt: skip
        ax.set_xticks(range(len(varied) + 1), [*(key.rpartition(".")[2] for key in varied), "objective\n(rank)"])
        for place, of in enumerate(varied.values()):
            for value in of.samples:
                ax.annotate(_plainly(value), (place, _place(value, of)), xytext=(3, 3), textcoords="offset points",
                            fontsize="small")  # fmt: skip
        ax.set_yticks([])
        ax.set_ylim(-0.08, 1.12)
    return svg(figure, "A line for each trial through what it varied; brighter lines came to more.")


def _place(value: object, of: Range | Choice) -> float:
    """Where a value stands between the ends of what is varied, from 0 to 1."""
    if isinstance(of, Choice):
        return of.values.index(value) / max(len(of.values) - 1, 1)
    assert isinstance(value, int | float)
    low, high, at = (np.log([of.low, of.high, value]) if of.log else np.array([of.low, of.high, value])).tolist()
    return float((at - low) / (high - low))


def written(found: Found) -> Sequence[tuple[str, str]]:
    """The files of a search: suffix and content."""
    files = [(".html", page(found)), (".md", markdown(found))]
    return files if found.chosen is None else [*files, (".yaml", best_recipe(found))]
