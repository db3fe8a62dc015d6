"""A policy and its gates: good scores pass, each limit fires, and what was not measured never passes."""

import copy
import math

import pytest

from polyclinic.core.config import load, parse
from polyclinic.core.errors import InputError
from polyclinic.eval.gate import judge
from polyclinic.eval.policy import Policy
from polyclinic.eval.verdict import ONE, TWO, Check, Verdict, grouped

KEYS = {role: {letter * 64} for role, letter in zip(("owner", "steward"), "ab", strict=True)}
MANIFEST = {"patients": 120, "modalities": {"imaging": {"with_record": 120}, "signals": {"with_record": 120}}}
CARDS = [
    {"name": "open", "sha256": "1" * 64, "known": True, "epsilon": None},
    {"name": "private", "sha256": "2" * 64, "known": True, "epsilon": 8.0},
]


def view(modality, name):
    def score(metric, value, high, **more):
        return {
            "metric": metric,
            "status": "measured",
            "value": value,
            "real_baseline_interval": [0.0, high],
            **more,
        }

    taught = score("tstr_auroc", 0.85, 0.95, task="illness", real_baseline=0.9)
    return {
        "modality": modality,
        "view": name,
        "title": name.upper(),
        "scores": [
            score("ks", 0.15, 0.1),
            score("frechet", 0.3, 0.2),
            score("c2st_auc", 0.8, 0.6),
            {**taught, "real_baseline_interval": [0.8, 0.95]},
        ],
    }


def attack(modality, name, kind):
    return {
        "modality": modality, "view": name, "attack": kind, "title": f"{name}: {kind}", "auc": 0.52,
        "interval": [0.45, 0.6], "tpr_at_1_fpr": 0.01, "members": 200, "controls": 150, "reason": None,
    }  # fmt: skip


def copied(modality, name):
    return {"modality": modality, "view": name, "exact": 0, "near": 2, "records": 120, "control_near": 1,
            "members": 200, "controls": 100}  # fmt: skip


PLACES = (("imaging", "xray"), ("signals", "ecg"), ("signals", "vitals"))
GOOD = {
    "views": [view(*place) for place in PLACES],
    "linkage": {"score": 0.9, "inconsistent_patients": [], "consistency_by_subject": [{"subject": "sex"}]},
    "rules": {"patients": 120, "violations": 0},
    "privacy": {
        "attacks": [
            attack(*place, kind)
            for place in PLACES
            for kind in ("nearest_record", "density_ratio", "outliers")
        ],
        "memorization": [copied(*place) for place in PLACES],
        "identifiers": [],
        "audits": [{"weights": "2" * 64, "claimed": 8.0, "lower_bound": 1.5, "confidence": 0.95}],
    },
}


def policy(**changes):
    """The partner policy, with nothing that may be unmeasured."""
    own = load(Policy, "partner", "policy")[0].model_dump()
    own |= {"may_be_unmeasured": []}
    own["gate_two"]["attacks_at_least"] = 3
    for place, value in changes.items():
        section, _, key = place.partition("__")
        (own[section] if key else own)[key or section] = value
    return parse(Policy, own, "test")


def decide(scores=GOOD, manifest=MANIFEST, cards=CARDS, approvals=KEYS, **changes):
    return judge(policy(**changes), manifest, scores, cards, approvals)


def changed(path, value, tree=GOOD):
    """The tree with one place set, or removed if value is the word `gone`."""
    made = copy.deepcopy(tree)
    *way, last = path
    place = made
    for step in way:
        place = place[step]
    if value == "gone":
        del place[last]
    else:
        place[last] = value
    return made


def test_good_scores_pass():
    verdict = decide()
    assert verdict.passed, verdict.reasons
    assert verdict.refused_by is None
    assert not verdict.unmeasured


# -- what was not measured

FIGURES = [
    *(("views", v, "scores", s, "value") for v in range(3) for s in range(4)),
    *(("views", 0, "scores", s, "real_baseline_interval", 1) for s in (0, 1)),
    ("views", 0, "scores", 3, "real_baseline"),
    ("views", 0, "scores", 3, "real_baseline_interval", 0),
    ("linkage", "score"),
    ("rules", "violations"),
    ("rules", "patients"),
    *(
        ("privacy", "attacks", a, key)
        for a in range(9)
        for key in ("auc", "tpr_at_1_fpr", "members", "controls")
    ),
    *(("privacy", "attacks", a, "interval", end) for a in range(9) for end in (0, 1)),
    *(
        ("privacy", "memorization", c, key)
        for c in range(3)
        for key in ("exact", "near", "records", "control_near")
    ),
    ("privacy", "audits", 0, "lower_bound"),
]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None, "", "0", True, [], "gone"], ids=repr)
def test_a_figure_that_is_no_finite_number_never_passes(value):
    for path in FIGURES:
        verdict = decide(changed(path, value))
        assert not verdict.passed, path
        assert verdict.lacking, path
        assert not verdict.failed, path


@pytest.mark.parametrize(
    "path",
    [
        ("views",),
        *(("views", v, "scores") for v in range(3)),
        ("linkage",),
        ("linkage", "inconsistent_patients"),
        ("linkage", "consistency_by_subject"),
        ("rules",),
        ("privacy",),
        ("privacy", "attacks"),
        ("privacy", "memorization"),
        ("privacy", "identifiers"),
        ("privacy", "audits"),
    ],
    ids=str,
)
@pytest.mark.parametrize("value", [None, "gone", "text", 0, math.nan], ids=repr)
def test_a_missing_part_never_passes(path, value):
    assert not decide(changed(path, value)).passed


@pytest.mark.parametrize(
    "path", [("views",), ("privacy", "attacks"), ("privacy", "memorization"), ("privacy", "audits")]
)
def test_an_empty_list_is_not_a_pass(path):
    assert decide(changed(path, [])).lacking


@pytest.mark.parametrize("scores", [{}, {"views": [], "privacy": {}}, {"views": [None]}])
def test_nothing_at_all_never_passes(scores):
    assert not decide(scores).passed
    everything = judge(policy(may_be_unmeasured=["*"]), {"patients": None, "modalities": {}}, scores, [], {})
    assert not everything.passed


def test_a_check_without_a_figure_has_not_passed():
    for at_most in (True, False):
        check = Check("ks/ecg", ONE, "ECG: KS", None, 0.5, at_most=at_most)
        assert not check.passed
        assert check.to_dict()["passed"] is False
        assert not Verdict("mine", (check, check), ("*",)).passed


def test_a_policy_says_what_may_be_unmeasured():
    scores = changed(("views", 1, "scores", 3, "value"), None)
    assert [c.key for c in decide(scores).lacking] == ["tstr/ecg/illness"]
    excused = decide(scores, may_be_unmeasured=["tstr/*"])
    assert excused.passed
    assert [c.key for c in excused.unmeasured] == ["tstr/ecg/illness"]


def test_a_figure_quoted_from_another_cohort_is_not_one_of_this():
    scores = changed(("views", 0, "scores", 2, "status"), "quoted")
    assert [c.key for c in decide(scores).lacking] == ["c2st_auc/xray"]


def test_what_real_records_do_not_teach_is_not_measured():
    scores = changed(("views", 0, "scores", 3, "real_baseline_interval"), [0.45, 0.95])
    assert [c.key for c in decide(scores).lacking] == ["tstr/xray/illness", "tstr_tasks/imaging"]


def test_a_task_is_held_against_the_low_end_of_what_real_records_teach():
    # real records teach 0.9, other real patients as little as 0.8: real ones themselves must not be refused
    for value, passes in ((0.9, True), (0.8, True), (0.75, True), (0.73, False)):
        assert decide(changed(("views", 0, "scores", 3, "value"), value)).passed == passes


# -- every limit fires

BEYOND = {
    "ks/xray": (("views", 0, "scores", 0, "value"), 0.31),
    "frechet/ecg": (("views", 1, "scores", 1, "value"), 0.96),
    "c2st_auc/vitals": (("views", 2, "scores", 2, "value"), 0.999),
    "tstr/xray/illness": (("views", 0, "scores", 3, "value"), 0.73),
    "linkage/score": (("linkage", "score"), 0.79),
    "linkage/inconsistent_patients": (("linkage", "inconsistent_patients"), ["p1"]),
    "rules": (("rules", "violations"), 1),
    "attack/auc/imaging/xray/nearest_record": (("privacy", "attacks", 0, "interval"), [0.5, 0.71]),
    "attack/auc/signals/ecg/outliers": (("privacy", "attacks", 5, "interval"), [0.5, 0.81]),
    "attack/tpr/signals/vitals/density_ratio": (("privacy", "attacks", 7, "tpr_at_1_fpr"), 0.06),
    "memorization/exact/signals/vitals": (("privacy", "memorization", 2, "exact"), 1),
    "memorization/near/imaging/xray": (("privacy", "memorization", 0, "near"), 4),
    "identifiers": (("privacy", "identifiers"), [{"where": "a", "what": "b"}]),
    "audit/private": (("privacy", "audits", 0, "lower_bound"), 8.1),
}


@pytest.mark.parametrize("key", BEYOND)
def test_a_figure_beyond_its_limit_is_refused(key):
    verdict = decide(changed(*BEYOND[key]))
    assert [c.key for c in verdict.failed] == [key]
    assert len(verdict.reasons) == 1
    gate = (
        "gate one"
        if key.split("/")[0] in ("ks", "frechet", "c2st_auc", "tstr", "linkage", "rules")
        else "gate two"
    )
    assert verdict.refused_by == gate


@pytest.mark.parametrize(
    ("cards", "key"),
    [
        ([{**CARDS[0], "known": False}], "weights/open"),
        ([{**CARDS[1], "epsilon": 10.5}], "weights/private"),
        ([{**CARDS[1], "epsilon": math.nan}], "weights/private"),
        ([{**CARDS[1], "sha256": "3" * 64}], "audit/private"),
    ],
)
def test_weights_must_be_known_cheap_and_audited(cards, key):
    assert key in {c.key for c in (*decide(cards=cards).failed, *decide(cards=cards).lacking)}


def test_public_weights_can_be_forbidden_and_an_audit_above_the_claim_counts_even_where_none_is_asked_for():
    assert [c.key for c in decide(gate_two__public_weights=False).failed] == ["weights/open"]
    scores = changed(*BEYOND["audit/private"])
    assert [c.key for c in decide(scores, gate_two__audit=False).failed] == ["audit/private"]


def test_an_audit_that_was_not_made_is_asked_for_only_where_the_policy_does():
    scores = changed(("privacy", "audits", 0, "lower_bound"), None)
    assert [c.key for c in decide(scores).lacking] == ["audit/private"]
    assert decide(scores, gate_two__audit=False).passed


@pytest.mark.parametrize(
    ("manifest", "change", "key"),
    [
        ({"patients": 99}, {}, "patients/least"),
        ({"patients": 100_001}, {}, "patients/most"),
        ({}, {"terms__modalities": ["imaging"]}, "modalities"),
    ],
)
def test_terms(manifest, change, key):
    verdict = decide(manifest={**MANIFEST, **manifest}, **change)
    assert [c.key for c in verdict.failed] == [key]
    assert verdict.refused_by == "terms"


def test_near_copies_are_counted_beyond_those_that_chance_makes():
    # one near copy among 100 controls makes two likely among 200 members; a hundredth of 120 is 1.2
    for near, passes in ((2, True), (3, True), (4, False)):
        assert decide(changed(("privacy", "memorization", 0, "near"), near)).passed == passes


def test_gate_one_speaks_before_gate_two():
    both = changed(*BEYOND["rules"], changed(*BEYOND["identifiers"]))
    assert decide(both).refused_by == "gate one"
    assert [line.split(":")[0] for line in decide(both).reasons] == ["gate one", "gate two"]


# -- approvals


@pytest.mark.parametrize(
    ("approvals", "lacking"),
    [
        ({}, ["approval/owner", "approval/steward"]),
        ({"owner": {"a" * 64}}, ["approval/steward"]),
        ({"owner": {"a" * 64}, "steward": {"a" * 64}}, ["approval/separate"]),
        ({"owner": {"a" * 64}, "steward": {"a" * 64, "b" * 64}}, []),
    ],
)
def test_each_role_speaks_with_a_key_of_its_own(approvals, lacking):
    verdict = decide(approvals=approvals)
    assert [c.key for c in verdict.unspoken] == lacking
    assert verdict.passed == (not lacking)
    assert not verdict.failed  # it may still come


def test_only_the_keys_that_a_policy_names_speak():
    assert decide(terms__keys={"owner": ["c" * 64]}).refused_by == "approvals"
    assert decide(terms__keys={"owner": ["a" * 64]}).passed


# -- another draw


def test_another_draw_is_of_use_only_where_a_modality_is_in_the_way():
    xray, vitals = changed(*BEYOND["ks/xray"]), changed(*BEYOND["memorization/exact/signals/vitals"])
    assert decide(xray, approvals={}).mendable == {"imaging"}
    assert decide(vitals).mendable == {"signals"}
    assert decide(changed(*BEYOND["rules"], xray)).mendable == set()
    assert decide(changed(("privacy", "identifiers"), None, xray)).mendable == set()
    assert decide().mendable == set()


# -- policies


@pytest.mark.parametrize("name", ["internal", "partner", "public"])
def test_shipped_policies_load_and_refuse_an_empty_cohort(name):
    own, _ = load(Policy, name, "policy")
    assert own.name == name
    assert not judge(own, MANIFEST, {}, [], KEYS).passed


def test_shipped_policies_grow_stricter():
    inner, partner, public = (
        load(Policy, name, "policy")[0].gate_two for name in ("internal", "partner", "public")
    )
    for looser, tighter in ((inner, partner), (partner, public)):
        assert looser.auc_upper_at_most > tighter.auc_upper_at_most
        assert looser.tpr_at_1_fpr_at_most > tighter.tpr_at_1_fpr_at_most
        assert looser.epsilon_at_most > tighter.epsilon_at_most


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gate_twoo": {}}, "unknown key 'gate_twoo'; the nearest known one is 'gate_two'"),
        ({"gate_two__auc_uper_at_most": 1}, "nearest known one is 'auc_upper_at_most'"),
        ({"gate_one__linkage_score_at_least": math.nan}, "linkage_score_at_least.*finite"),
        ({"gate_two__auc_upper_at_most": 1.5}, "auc_upper_at_most.*of at most 1"),
        ({"terms__roles": []}, "roles"),
        ({"terms__roles": ["janitor"]}, "roles.*janitor"),
        ({"terms__keys": {"owner": ["abc"]}}, "keys.owner"),
    ],
)
def test_a_policy_that_will_not_do_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        policy(**change)


def test_reasons_with_one_cause_are_one_line_and_the_others_stay() -> None:
    absent = [
        Check(f"attack/{i}", TWO, f"View {i}: Attack (by density)", None, 0.8, why="it needs real records")
        for i in range(30)
    ]
    alone = Check("c2st_auc/ecg", ONE, "ECG: C2ST", None, 1.0, why="it needs real records")
    beyond = Check("near/ecg", TWO, "ECG: near copies", 0.5, 0.02)
    reasons = [str(check) for check in (alone, *absent[:15], beyond, *absent[15:])]
    assert grouped(reasons) == [
        str(alone), "gate two: 30 figures not measured (it needs real records)", str(beyond)
    ]  # fmt: skip
    assert grouped([]) == []
