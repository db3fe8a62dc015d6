"""Policy: what a cohort must show before it leaves, as a YAML file says it; written before anybody has measured."""

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from ..core.config import Settings
from ..core.instance_name import base_of

FORMAT = 2
Role = Literal["owner", "generator", "validator", "steward"]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
PublicKey = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Strict(Settings):
    """Settings whose numbers are finite: a limit that is NaN would forbid, or allow, everything."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Limits(Strict):
    """Gate one, for one kind of record.

    The distances are over the upper end of what two groups of real patients show. tstr_share is the AUROC above chance
    (train on synthetic, test on real) over the lower end of the range of as many real records, for each task that real
    records surely show.
    """

    ks_above_baseline_at_most: Share
    frechet_above_baseline_at_most: Annotated[float, Field(ge=0)]
    c2st_auc_at_most: Share
    tstr_share_at_least: Annotated[float, Field(ge=0)]


class Fidelity(Strict):
    """Gate one: limits for every view, others for the views named, and what holds for the patients as a whole.

    tasks_at_least: so many tasks a modality must be measurable, whatever may be unmeasured.
    """

    limits: Limits
    views: dict[str, Limits] = Field(default_factory=dict)
    tasks_at_least: Count = 1
    linkage_score_at_least: Share
    inconsistent_patients_at_most: Count = 0
    rule_violations_at_most: Count = 0

    def of(self, view: str) -> Limits:
        """The limits of one view; those of an instance of a modality are its own, or else those of the plain view."""
        return self.views.get(view) or self.views.get(base_of(view), self.limits)


class Privacy(Strict):
    """Gate two; exact copies and identifiers are never allowed.

    auc_upper: the upper end of an attack's 95 % interval; attacks that are named have limits of their own.
    near_copies: which share of the cohort may lie near a training record, beyond what lies near control records.
    """

    auc_upper_at_most: Share
    auc_upper_for: dict[str, Share] = Field(default_factory=dict)
    tpr_at_1_fpr_at_most: Share
    attacks_at_least: Annotated[int, Field(ge=1)] = 1  # measured, a modality
    near_copies_above_controls_at_most: Share
    public_weights: bool
    epsilon_at_most: Annotated[float, Field(gt=0)]
    audit: bool  # whether weights learnt privately must have been audited


class Terms(Strict):
    """Who may get how much, for how long, and who must have agreed.

    keys: public keys, in hex, that may speak for a role; for a role that is not named any key may. With
    `separate`, one key speaks for one role only.
    """

    patients_at_least: Annotated[int, Field(ge=1)]
    patients_at_most: Annotated[int, Field(ge=1)] | None = None
    modalities: list[str] | None = None  # None: any
    roles: Annotated[list[Role], Field(min_length=1)]
    keys: dict[Role, list[PublicKey]] = Field(default_factory=dict)
    separate: bool = True
    retention_days: Annotated[int, Field(ge=1)]


class Policy(Strict):
    """The whole of it. may_be_unmeasured: patterns of checks that may have no figure, such as `tstr/vitals/*`."""

    format: int
    name: str
    about: str = ""
    since: date | None = None
    terms: Terms
    gate_one: Fidelity
    gate_two: Privacy
    may_be_unmeasured: list[str] = Field(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _of_this_format(cls, values: Any) -> Any:
        """Checked before any key: keys were renamed between formats."""
        found = values.get("format", 1) if isinstance(values, dict) else FORMAT
        if found != FORMAT:
            raise ValueError(
                f"policy of format {found}; expected format {FORMAT}: rename its keys as in "
                f"configs/policy/partner.yaml and write `format: {FORMAT}`"
            )
        return values
