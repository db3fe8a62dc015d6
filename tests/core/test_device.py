"""Devices: which one is chosen, and that every network draws on another one what it draws on the CPU."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from elsewhere import PLACE, elsewhere
from torch import Tensor, nn

from polyclinic.app.engines import generation
from polyclinic.conditioning.encoder import ProfileEncoder
from polyclinic.conditioning.population import Population
from polyclinic.core import device
from polyclinic.core.condition import FieldDropout
from polyclinic.core.dp.recurrence import Recurrence
from polyclinic.core.errors import InputError
from polyclinic.core.modality import Batch, Generator, Record
from polyclinic.core.profile import PatientProfile
from polyclinic.core.registry import load_modality
from polyclinic.core.training import weights
from polyclinic.core.training.weights import find, load
from polyclinic.modalities.imaging import generator as images
from polyclinic.modalities.imaging import inference, sampler
from polyclinic.modalities.imaging import model as flow
from polyclinic.modalities.imaging import upsampler as finer
from polyclinic.modalities.omics import generator as tumours
from polyclinic.modalities.omics.vae import Decoder
from polyclinic.modalities.signals.vitals import charting
from polyclinic.modalities.signals.vitals import sampler as charts
from polyclinic.modalities.signals.vitals.network import VitalsNet
from polyclinic.modalities.signals.vitals.quantizer import Tokens

CPU = torch.device("cpu")
HOURS = 2  # of vital signs


def vitals(columns: Sequence[str]) -> Generator:
    return charts.VitalsSampler(load(find("vitals")), columns, hours=HOURS, ends=False)


# the networks of the shipped weights; ECGs and records have none
NETWORKS: dict[str, tuple[Callable[[Sequence[str]], Generator], tuple[type[nn.Module], ...]]] = {
    "imaging": (load_modality("imaging").generator, (flow.Denoiser, finer.Upsampler)),
    "omics": (load_modality("omics").generator, (Decoder,)),
    "vitals": (vitals, (Recurrence,)),
}


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Float32 on both, and one step of the flow, which shows as much as eight."""
    for module in (sampler, finer, inference):
        monkeypatch.setattr(module, "half_is_fast", lambda _: False)
    monkeypatch.setattr(images, "STEPS", 1)


def drawn(name: str, place: torch.device) -> Record:
    encoder, profile = ProfileEncoder(), PatientProfile("p", age=60.0, sex="F")
    with device.using(str(place)):
        generator = NETWORKS[name][0](encoder.columns)
    (record,) = generator.sample(Batch((profile,), encoder.encode([profile]), (5,)))
    return record


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_draws_on_another_device_what_it_draws_on_the_cpu(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, places = drawn(name, CPU), dict[type, str]()
    kept = weights.restore

    def noted(net: nn.Module, *args: Any, **how: Any) -> None:
        kept(net, *args, **how)
        for part in net.modules():
            places[type(part)] = str(next(part.parameters(), torch.zeros(1)).device)

    for module in (images, finer, tumours, charts):
        monkeypatch.setattr(module, "restore", noted)
    with elsewhere():
        after = drawn(name, PLACE)
    assert [places[kind] for kind in NETWORKS[name][1]] == [str(PLACE)] * len(NETWORKS[name][1])
    assert before.arrays.keys() == after.arrays.keys()
    for key, values in before.arrays.items():
        if key == "image":  # attention has a kernel of its own on the CPU
            np.testing.assert_allclose(values.astype(int), after.arrays[key], rtol=0, atol=1)
        else:
            np.testing.assert_array_equal(values, after.arrays[key], err_msg=key)


def test_all_shipped_networks_are_looked_at() -> None:
    used = {name for m in ("imaging", "omics", "signals", "records") for name in load_modality(m).weights()}
    assert used == {"imaging", "imaging_fine_upsampler", "omics", "ecg", "vitals"}


class _Left(Decoder):
    def forward(self, latent: Tensor, condition: Tensor) -> Tensor:
        return super().forward(latent, condition) + torch.ones(len(latent), 1)


def test_a_tensor_left_behind_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tumours, "Decoder", _Left)
    drawn("omics", CPU)
    with elsewhere(), pytest.raises(RuntimeError, match="same device"):
        drawn("omics", PLACE)


def test_a_forgotten_cpu_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    with elsewhere():
        monkeypatch.setattr(Tensor, "cpu", lambda self: self)
        with pytest.raises(RuntimeError, match="numpy"):
            drawn("omics", PLACE)


def test_the_likelihood_of_charts_is_the_same_on_another_device() -> None:
    random = torch.Generator().manual_seed(1)
    net = VitalsNet(3, charts.VitalsModel(hours=4, width=8, head=8, embed=4)).eval()
    readings = np.random.default_rng(1).uniform(60, 99, (2, 4, 7)).astype(np.float32)
    readings[0, 1:3] = np.nan
    tokens = Tokens.of(readings)
    rows = (
        charting.charts(tokens),
        torch.rand(2, 3, generator=random),
        torch.tensor([4, 3]),
        torch.tensor([torch.nan, 2]),
    )
    with torch.no_grad():
        before = [net.log_likelihood(tokens, *rows, everywhere) for everywhere in (True, False)]
        with elsewhere():
            net.to(PLACE)
            there = replace(tokens, **{k: getattr(tokens, k).to(PLACE) for k in ("bins", "half", "present")})
            moved = [row.to(PLACE) for row in rows]
            after = [net.log_likelihood(there, *moved, everywhere).cpu() for everywhere in (True, False)]
    for one, other in zip(before, after, strict=True):
        assert torch.allclose(one, other)


def test_hidden_fields_stay_on_their_device() -> None:
    with elsewhere():
        assert FieldDropout([f"f{i}" for i in range(6)])(torch.ones(4, 6).to(PLACE)).device == PLACE


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", NETWORKS)
def test_a_gpu_draws_the_same_twice_and_nearly_what_the_cpu_draws(name: str) -> None:
    with device.steady("cuda:0"):
        one, two = drawn(name, PLACE), drawn(name, PLACE)
    for key, values in drawn(name, CPU).arrays.items():
        np.testing.assert_array_equal(one.arrays[key], two.arrays[key])
        if name != "vitals" and values.dtype.kind in "uf":  # a reading may fall on the next step
            near = np.isclose(one.arrays[key].astype(float), values.astype(float), rtol=0.01, atol=20)
            assert near.mean() > 0.99


# -- which device


@pytest.mark.parametrize("asked", ["gpu", "cuda:x", "CPU", "", "cuda:", None])
def test_another_word_is_no_device(asked: Any) -> None:
    with pytest.raises(InputError, match="--device: expected auto, cpu, cuda or cuda:N, got"):
        device.choose(asked)


def test_a_device_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_gpus", lambda: 2)
    assert [device.choose(asked) for asked in ("auto", "cpu", "cuda", "cuda:1")] == [
        "cuda:0",
        "cpu",
        "cuda:0",
        "cuda:1",
    ]
    assert device.choose("auto", "cpu") == "cpu"
    assert device.choose("cuda:1", "cuda") == "cuda:1"
    with pytest.raises(InputError, match="cuda:2: PyTorch sees 2 here, from cuda:0 on"):
        device.choose("cuda:2")
    monkeypatch.setattr(device, "_gpus", lambda: 0)
    assert device.choose("auto") == "cpu"
    with pytest.raises(InputError, match="--device cuda: PyTorch sees no CUDA device here"):
        device.choose("cuda")
    with pytest.raises(InputError, match="the cohort was begun on one"):
        device.choose("auto", "cuda")
    elsewhere = [
        device.choose(asked, begun, here=False)
        for asked, begun in (("auto", None), ("auto", "cuda"), ("cuda", None))
    ]
    assert elsewhere == ["cpu", "cuda", "cuda"]
    with pytest.raises(InputError, match="workers elsewhere are given a GPU each; say --device cuda"):
        device.choose("cuda:1", here=False)


def test_a_cohort_tells_its_device_and_goes_on_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def begin(out: Path, **how: Any) -> dict[str, Any]:
        made = generation.make(Population.load("adults"), 3, 1, out, modalities=["records"], **how)
        return made.manifest

    monkeypatch.setattr(generation, "run", lambda *_: None)  # interrupted at once
    assert "device" not in begin(tmp_path / "cpu", device="cpu")
    monkeypatch.setattr(device, "_gpus", lambda: 1)
    assert begin(tmp_path / "gpu")["device"] == "cuda"
    assert "device" not in begin(tmp_path / "cpu", resume=True)  # as it was begun
    for place, asked, begun in (("cpu", "cuda", "cpu"), ("gpu", "cpu", "cuda")):
        with pytest.raises(InputError, match=f"--device {asked}: the cohort was begun on {begun}, and files"):
            begin(tmp_path / place, device=asked, resume=True)
    monkeypatch.setattr(device, "_gpus", lambda: 0)
    with pytest.raises(InputError, match="no CUDA device here"):
        begin(tmp_path / "gpu", resume=True)


def test_workers_of_a_gpu_fit_into_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    assert device.processes("cpu", 8) == 8
    for free, most in ((80e9, 8), (5e9, 2), (1e9, 1)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _, free=free: (free, 80e9))
        assert device.processes("cuda:0", 8) == most


def test_steady_leaves_everything_as_it_was() -> None:
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with device.steady("cuda:0"):
        assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == (1, True)
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before


def test_no_private_call_of_torch() -> None:
    root = Path(__file__).parents[2]
    sources = [
        path
        for room in ("app", "core", "conditioning", "modalities", "eval")
        for path in (root / room).rglob("*.py")
    ]
    private = re.compile(r"(?<!\")\btorch(?:\.\w+)*\._[a-z]\w*")
    assert private.search("torch.cpu._is_avx512_bf16_supported()")
    found = {path.name: private.findall(path.read_text()) for path in sources}
    assert {name: calls for name, calls in found.items() if calls} == {}
