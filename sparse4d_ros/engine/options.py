"""How an engine scores, filters and follows objects; the defaults are the reference's behaviour."""

from __future__ import annotations

from dataclasses import dataclass, field

from sparse4d_ros.engine.decode import SCORE_MODES
from sparse4d_ros.errors import UserError


@dataclass(frozen=True)
class EngineOptions:
    """Options of whoever drives with a model (the model's own properties are in its package)."""

    #: Objects whose score is below are not given out (their instances stay in the bank).
    score_threshold: float = 0.3
    #: Thresholds of single classes, by name, instead of the one above.
    class_score_thresholds: dict[str, float] = field(default_factory=dict)
    #: At most so many objects a frame (the reference's decoder: 300).
    max_objects: int = 300
    #: Objects farther away than this from the vehicle are not given out; None for no limit.
    max_range_m: float | None = None
    #: History older than this, or than the model's own limit, is dropped and a new epoch begins.
    max_interval_s: float = 2.0
    #: "class_centerness" (reference) or "class_sqrt_quality": class x sqrt(centerness x yawness).
    score_mode: str = "class_centerness"
    #: Suppress boxes of one class that overlap a better one by more than this 3-D IoU; 1: never (reference);
    #: None: as the model package says.
    nms_iou: float | None = None
    #: Forget an instance's identity when its confidence falls below this; None: never (reference). Often 0.25.
    bank_min_confidence: float | None = None
    #: Forget it when it was not seen (given out) for more than so many frames; None: never (reference). Often 8.
    bank_max_unseen: int | None = None
    #: Give a returning object its old track id where its instance embedding has at least this cosine
    #: similarity; None: ids by the bank alone (reference). Often 0.2.
    association_similarity: float | None = None
    #: How long a lost track can come back, seconds.
    association_max_lost_s: float = 2.0
    #: Also give out dense depth maps (debugging; the model must have been exported with them).
    dense_depth: bool = False

    def __post_init__(self) -> None:
        for name in ("score_threshold", "nms_iou", "bank_min_confidence"):
            value = getattr(self, name)
            if value is not None and not 0.0 <= value <= 1.0:
                raise UserError(f"{name} must lie between 0 and 1, not {value}")
        for name, value in self.class_score_thresholds.items():
            if not 0.0 <= value <= 1.0:
                raise UserError(f"class_score_thresholds.{name} must lie between 0 and 1, not {value}")
        if self.association_similarity is not None and not -1.0 <= self.association_similarity <= 1.0:
            raise UserError(f"association_similarity must lie between -1 and 1, not {self.association_similarity}")
        if self.score_mode not in SCORE_MODES:
            raise UserError(f"score_mode must be one of {', '.join(SCORE_MODES)}, not {self.score_mode!r}")
        for name in ("max_objects", "max_range_m", "max_interval_s", "bank_max_unseen", "association_max_lost_s"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UserError(f"{name} must be above 0, not {value}")
