"""Files of an older format are answered with one line that says what to do; the shipped ones are of this format."""

import json
from pathlib import Path

import pytest
import yaml

from polyclinic import load_modality
from polyclinic.core.config import load, parse, shipped
from polyclinic.core.errors import InputError
from polyclinic.core.training.weights import digest, folders
from polyclinic.eval import reference
from polyclinic.eval.policy import FORMAT, Policy
from polyclinic.eval.results import VERSION, read_scores

OLD_POLICY = {"name": "lab", "gate_one": {"limits": {"told_apart_at_most": 0.9}}}


@pytest.mark.parametrize("values", [OLD_POLICY, {**OLD_POLICY, "format": 1}, {**OLD_POLICY, "format": 3}])
def test_an_older_policy_says_what_to_rename(values: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(
        InputError, match=r"lab\.yaml: policy of format \d; expected format 2: rename its keys"
    ) as found:
        load(Policy, str(path), "policy")
    assert "\n" not in str(found.value)
    assert "told_apart" not in str(found.value)


def test_an_unknown_key_of_a_policy_still_names_the_nearest() -> None:
    values = yaml.safe_load((shipped() / "policy" / "partner.yaml").read_text())
    values["gate_one"]["limits"]["c2st_at_most"] = 0.9
    with pytest.raises(InputError, match=r"unknown key 'gate_one\.limits\.c2st_at_most'.*'c2st_auc_at_most'"):
        parse(Policy, values, "partner.yaml")


@pytest.mark.parametrize("name", ["internal", "partner", "public"])
def test_shipped_policies_are_of_this_format(name: str) -> None:
    assert load(Policy, name, "policy")[0].format == FORMAT


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '{"format": "polyclinic-scores", "version": 1}',
            "format_version 2, got polyclinic-scores 1; remove the file",
        ),
        ('{"format": "other", "format_version": 2}', "got other 2"),
        ("[]", "not a scores.json"),
        ("{", "not a scores.json"),
    ],
)
def test_an_older_or_damaged_scores_json_says_what_to_do(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    path.write_text(text)
    with pytest.raises(InputError, match=f"scores.json: .*{said}"):
        read_scores(path)


def test_scores_of_this_format_are_read(tmp_path: Path) -> None:
    content = {"format": "polyclinic-scores", "format_version": VERSION}
    (tmp_path / "scores.json").write_text(json.dumps(content))
    assert read_scores(tmp_path / "scores.json") == content


def test_an_older_reference_says_how_to_write_it_again(tmp_path: Path) -> None:
    path = tmp_path / "toy.json"
    path.write_text('{"format": "polyclinic-reference", "version": 1, "views": {}}')
    with pytest.raises(InputError, match="format_version 2, got polyclinic-reference 1; write it again with"):
        reference.read(path)


@pytest.mark.parametrize("path", sorted(reference.folder().glob("*.json")), ids=lambda path: path.stem)
def test_shipped_references_are_read_and_their_metrics_are_snake_case(path: Path) -> None:
    for view in reference.read(path).values():
        assert view.quoted
        for score in view.quoted:
            assert score.metric.replace("_", "").isalnum()
            assert score.metric == score.metric.lower()


@pytest.mark.parametrize("path", sorted(reference.folder().glob("*.json")), ids=lambda path: path.stem)
def test_quoted_figures_are_of_the_weights_that_ship(path: Path) -> None:
    """Else `benchmarks/quality.py --write` measures them again."""
    stated = json.loads(path.read_text())
    names = load_modality(stated["modality"]).weights()
    assert stated["weights"] == {name: digest(folders()[-1] / f"{name}.safetensors") for name in names}
