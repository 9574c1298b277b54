"""The contract between an objective and the loop that trains it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NotRequired, Self, TypedDict, cast

from torch import Tensor, nn

from bench.config.objective_settings import GIVEN, check_values, settings_of_class
from bench.errors import BadInput
from bench.nn.encoder import Encoder

if TYPE_CHECKING:
    from bench.data.maps import MapKind
    from bench.data.views import Batch, View
    from bench.nn.clip import Clip


class ParamGroup(TypedDict):
    """Parameters that an optimizer treats alike."""

    params: list[nn.Parameter]
    decay: bool  # whether weight decay applies
    adapt: bool  # whether LARS scales the step to the weights
    rate: NotRequired[float]  # what the learning rate is multiplied by, 1 if left out
    constant: NotRequired[bool]  # whether the rate stays at its peak, whatever the schedule


def groups_apart(
    groups: list[ParamGroup], module: nn.Module, others: Mapping[str, Any], of_module: Mapping[str, Any]
) -> list[ParamGroup]:
    """Return each group in two: the parameters outside `module`, with the keys `others`, and those of it."""
    inside = {id(parameter) for parameter in module.parameters()}
    parts: list[dict[str, Any]] = []
    for group in groups:
        for keys, is_inside in ((others, False), (of_module, True)):
            params = [parameter for parameter in group["params"] if (id(parameter) in inside) == is_inside]
            parts.append({**group, "params": params, **keys})
    return cast("list[ParamGroup]", parts)


class Objective(nn.Module, ABC):
    """What a pretraining minimises, and the networks that it needs for that.

    A constructor takes the encoder, `num_classes` if it uses labels, `num_images` (of the pretraining set) if it keeps
    something for each image, and its settings: keyword-only, with an annotation that says which values it takes (see
    `bench.config.setting_types`) and a literal default, which is the paper's. A variant of another objective names
    what it adds or changes, and takes the rest as `**settings`, which it hands on.

    Values that an annotation does not admit are refused before the constructor runs: it refuses only what depends on
    several settings, or on the encoder.
    """

    encoder: Encoder  # what is converted and evaluated
    needs_several_for: ClassVar[str] = ""  # what a batch of one image does not give, in words; "" if it does
    # Whether its batch norms may be over groups of images (`norm_images` of a recipe): the rows that a network is given
    # are images, or views of all of them one after another. Read from the source, as the next one.
    norm_groups: ClassVar[bool] = False
    # Whether keys are normalised among other images than their queries, which takes two groups or more.
    shuffles_keys: ClassVar[bool] = False
    # Whether it keeps a copy of the encoder that follows it, called `target_encoder` or `key_encoder`.
    keeps_copy: ClassVar[bool] = False
    # Back ends that can make its views, where not all can: maps, patches and photometric steps are the workers'.
    view_backends: ClassVar[tuple[str, ...]]
    # Whether the loss of a batch is the mean of its parts' losses, and nothing is kept from one part to the next: then,
    # norms aside, a batch may be cut into smaller parts where memory is short. A class that changes the loss of one
    # that says so has to say it anew.
    mean_over_images: ClassVar[bool] = False
    map: MapKind | None = None  # what `Batch.masks` has of each view; a setting may choose it

    # What it learns from besides images in colour, and a frozen trunk of it can be shown (bench.config.trunk_inputs).
    # Read from the source as a literal. With `image_statistics` on, its norms are not for that.
    inputs: ClassVar[tuple[str, ...]] = ()

    # Settings that were added after results had been recorded, as literals: at its default, which means what was done
    # before, such a setting is in no fingerprint. Read from the source, a base class's where a class has none.
    later: ClassVar[tuple[str, ...]] = ()

    # Raised by one when the class computes something else under the same settings, so that it trains anew and tables
    # mark what was recorded before. Read from the source; a class that does not set it has that of its base.
    definition: ClassVar[int] = 1

    def __new__(cls, *_arguments: Any, **settings: Any) -> Self:
        """Raises BadInput for an unknown setting, and for a value that its annotation does not admit."""
        values = {key: value for key, value in settings.items() if key not in GIVEN}
        check_values(values, settings_of_class(cls))
        return super().__new__(cls)

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    @abstractmethod
    def views(self, size: int) -> tuple[View, ...]:
        """Return the views that a batch has of each image, for global views of `size` pixels."""

    def video(self) -> Clip | None:
        """Return which frames of a video it learns from; None for images, as most do."""
        return None

    def check(self, batch_size: int, view_size: int) -> None:
        """Refuse what this objective cannot work with, before training starts; a single image, if it needs several.

        Args:
            batch_size: images of one micro-batch over all ranks.
            view_size: side of the global views in pixels.

        Raises BadInput with the remedy.
        """
        if self.needs_several_for and batch_size < 2:
            raise BadInput(
                f"{type(self).__name__} needs {self.needs_several_for}, but batch_size is {batch_size} (of a "
                "micro-batch); set batch_size to 2 or more."
            )

    @abstractmethod
    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return {"loss": what to minimise, and by name its terms, detached}, all scalars."""

    def before_step(self, progress: float) -> None:
        """Do what comes between the gradients and the optimizer's step k (0-based) of K; progress is k / K."""

    def after_step(self, progress: float) -> None:
        """Do what follows the optimizer's step k (0-based) of K; progress is k / K."""

    def outputs(self, images: Tensor) -> dict[str, Tensor]:
        """Return what diagnostics look at, by name, each N×D: the pooled feature, and what the loss sees of it.

        Called in eval mode and without gradients, by the first rank alone: it must change nothing, and wait for no
        other rank. Override it where the encoder takes no plain images, or `projector` no pooled features.

        Args:
            images: N×3×H×W, normalised.
        """
        features = self.encoder(images)
        projector = getattr(self, "projector", None)
        return {"backbone": features} | ({} if projector is None else {"projector": projector(features)})

    def param_groups(self) -> list[ParamGroup]:
        """Return the trainable parameters: weights, which decay and adapt; biases and norms, which do neither.

        Decided by the number of dimensions, not by name: a norm called `downsample.1` cannot slip through.
        """
        trainable = [parameter for parameter in self.parameters() if parameter.requires_grad]
        weights = [parameter for parameter in trainable if parameter.ndim > 1]
        rest = [parameter for parameter in trainable if parameter.ndim <= 1]
        return [
            {"params": weights, "decay": True, "adapt": True},
            {"params": rest, "decay": False, "adapt": False},
        ]
