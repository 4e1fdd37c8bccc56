"""How large a recipe's network is: a number that a study can ask for, and that no training changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import nn

from sanggar.errors import RecipeError, suggest
from sanggar.plan import AnyModel, Plan, build
from sanggar.results import Measurement, Protocol

PARAMETERS = "network.parameters"
"""Key of the quantity: numbers in a network, or in a part of it"""
COUNTED = ("all", "trained", "running")
"""Which of them: what an optimizer changes, the running statistics of batch norm, or both, as Keras counts them"""
WHOLE = "whole"
"""Name of the part that is everything"""


def parameters(plan: Plan, tags: Mapping[str, object]) -> Measurement:
    """Count the numbers in a recipe's network: of the part, and of the kind, that the tags name; by default all.

    A part is what the names of its tensors begin with: `generator`, or `generator.layers.0`. Raises RecipeError.
    """
    part, counted = str(tags.get("part", WHOLE)), str(tags.get("counted", COUNTED[0]))
    if odd := [name for name in tags if name not in ("part", "counted")]:
        raise RecipeError(f"{PARAMETERS}: there is no tag {odd[0]!r}. {suggest(odd[0], ['part', 'counted'])}")
    if counted not in COUNTED:
        raise RecipeError(f"{PARAMETERS}: counted: there is no {counted!r}. {suggest(counted, COUNTED)}")
    there: dict[str, int] = {}
    for name, size, trained in _tensors(build(plan, plan.spec)):
        words = name.split(".")[:-1]
        for of in (WHOLE, *(".".join(words[: i + 1]) for i in range(len(words)))):
            there[of] = there.get(of, 0) + size * (counted in ("all", "trained" if trained else "running"))
    if part not in there:
        raise RecipeError(f"{PARAMETERS}: {plan.name} has no part {part!r}. {suggest(part, list(there))}")
    # it depends on no pictures; a protocol names at least one
    protocol = Protocol(n=1, data=str(plan.data.source))
    return Measurement(
        key=PARAMETERS, value=there[part], tags={"part": part, "counted": counted}, protocol=protocol
    )  # fmt: skip


def _tensors(model: AnyModel) -> Iterator[tuple[str, int, bool]]:
    """Name, size, and whether it is trained, of each parameter and each running statistic."""
    if isinstance(model, nn.Module):
        yield from ((name, tensor.numel(), True) for name, tensor in model.named_parameters())
        for name, tensor in model.named_buffers():
            if name.rpartition(".")[2] in ("running_mean", "running_var"):
                yield name, tensor.numel(), False
    else:
        trained = {id(parameter.data) for parameter in model.network.parameters}
        yield from ((name, array.size, id(array) in trained) for name, array in model.network.arrays().items())
