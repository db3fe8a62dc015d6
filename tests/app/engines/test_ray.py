"""The Ray engine on a cluster of two nodes: the bytes of the local engine, whatever is shared and whoever dies."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from polyclinic.app.cli import app
from polyclinic.app.engines import generation as engine
from polyclinic.app.engines.job import Job
from polyclinic.app.engines.parcel import Parcel
from polyclinic.conditioning.population import Population
from polyclinic.core.cohort import carry
from polyclinic.core.cohort.cohort import MANIFEST, PENDING, Cohort
from polyclinic.core.errors import InputError

ray = pytest.importorskip("ray", reason="pip install 'polyclinic[ray]'")
from ray.cluster_utils import Cluster as RayCluster  # noqa: E402

from polyclinic.app.engines import ray as engine_of_ray  # noqa: E402

PLUGIN = Path(__file__).parents[2] / "plugin"
FAKES = ("fake_notes", "fake_table")
PATIENTS = 150  # ten slices, the last one short
SECONDS = 0.03  # a record, on whatever node: no worker has drawn all before another begins
# a node that is gone is known to be within a second or two
WATCHFUL = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 2,
}
NODE = {"num_cpus": 1, "object_store_memory": 80_000_000, "include_dashboard": False}


def content(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


def make(
    out: Path, name: str = "ray", progress: Callable[[int], None] = lambda _: None, **how: Any
) -> Cohort:
    people = Population.load("general_ward")
    return engine.make(people, PATIENTS, 7, out, modalities=FAKES, engine=name, progress=progress, **how)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, bytes]]:
    """The bytes of a run in one process. The plugin is there until the last test of this file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(PLUGIN)
        patch.setenv("PYTHONPATH", os.pathsep.join([str(PLUGIN), os.environ.get("PYTHONPATH", "")]))
        yield content(make(tmp_path_factory.mktemp("whole") / "c", "local", workers=1).folder)


@pytest.fixture(scope="module")
def cluster(whole: dict[str, bytes]) -> Iterator[RayCluster]:
    """A head of one core, to which nodes are added; they are ended by their own process ids."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("FAKE_DELAY", str(SECONDS))
        nodes = RayCluster(initialize_head=True, head_node_args={**NODE, "_system_config": WATCHFUL})
        try:
            ray.init(address=nodes.address, log_to_driver=False)
            yield nodes
        finally:
            ray.shutdown()
            nodes.shutdown()


def test_a_lost_node_loses_nothing(
    cluster: RayCluster, whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = cluster.add_node(**NODE)
    until = time.monotonic() + 60
    while ray.cluster_resources().get("CPU", 0) < 2 and time.monotonic() < until:
        time.sleep(0.1)  # its core is known a moment after the node is
    done, lost, carried, crews = list[int](), list[int](), list[int](), list[Any]()
    killed: list[bool] = []
    hire, put, next_of = engine_of_ray._Crew._replace, carry.put, engine_of_ray._Crew._next
    monkeypatch.setattr(engine_of_ray._Crew, "_next", lambda crew: (crews.append(crew), next_of(crew))[1])
    monkeypatch.setattr(engine_of_ray._Crew, "_replace", lambda crew, one: (lost.append(1), hire(crew, one)))
    monkeypatch.setattr(carry, "put", lambda *given: (carried.append(1), put(*given)))

    def kill(patients: int) -> None:
        done.append(patients)
        drawing = {id(actor) for actor, _ in crews[-1].asked.values()} if crews else ()
        if len(drawing) == 2 and not killed:
            killed.append(True)
            cluster.remove_node(node, allow_graceful=False)

    assert content(make(tmp_path / "c", progress=kill).folder) == whole
    assert lost
    assert not carried  # the disk is shared
    assert done == sorted(set(done))
    assert done[-1] == PATIENTS


def test_slices_are_carried_where_no_disk_is_shared_and_a_stopped_run_goes_on_here(
    cluster: RayCluster, whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_of_ray, "TOKEN", "not-shared")  # workers look for a file that is not there

    def stop(done: int) -> None:
        if done > 100:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "c", progress=stop, workers=1)
    assert len(Cohort.open(tmp_path / "c").missing()) == 3
    assert content(make(tmp_path / "c", "local", resume=True, workers=1).folder) == whole


def test_a_gpu_that_no_node_has_is_told(cluster: RayCluster, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no node of the Ray cluster has a GPU"):
        make(tmp_path / "c", device="cuda")
    assert not (tmp_path / "c").exists()


def test_workers_have_the_software_and_the_weights_of_the_cohort(
    whole: dict[str, bytes], tmp_path: Path
) -> None:
    begun = make(tmp_path / "c", "local", workers=1)
    for number, (key, other, said) in enumerate(
        (
            ("software", {"numpy": "1.0"}, "has numpy .*, the cohort is drawn with 1.0; install the same"),
            ("weights", {"vitals": "0" * 64}, "has other weights vitals than the cohort"),
        )
    ):
        parcel = Parcel.of(Job(begun.folder, 5))
        home = tmp_path / str(number)
        home.mkdir()
        with pytest.raises(InputError, match=said):
            replace(parcel, manifest={**parcel.manifest, key: other}).unpacked(home)


def test_a_parcel_has_what_another_machine_lacks(whole: dict[str, bytes], tmp_path: Path) -> None:
    made = make(tmp_path / "c", "local", workers=1)
    key = tmp_path / "key"
    key.write_bytes(b"secret")
    parcel = Parcel.of(Job(made.folder, 5, key))
    (tmp_path / "home").mkdir()
    job = parcel.unpacked(tmp_path / "home")
    assert job.watermark is not None
    assert (job.watermark.read_bytes(), job.batch_size) == (b"secret", 5)
    assert Cohort.open(job.folder).manifest == made.manifest


def test_a_slice_may_be_put_twice_and_not_after_the_end(whole: dict[str, bytes], tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    (source / "notes").mkdir(parents=True)
    (source / "notes" / "x.txt").write_text("x")
    (source / PENDING).mkdir()
    (source / PENDING / "slice-00003.json").write_text('{"files": {"notes/x.txt": {}}}')
    files = carry.taken(source, 3)
    assert list(files) == ["notes/x.txt", f"{PENDING}/slice-00003.json"]
    (target / PENDING).mkdir(parents=True)
    for _ in range(2):
        carry.put(files, target)
        assert content(target) == content(source)
    shutil.rmtree(target)
    target.mkdir()
    carry.put(files, target)
    assert not content(target)


def test_an_address_needs_an_engine_that_is_elsewhere(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"--address 1\.2\.3\.4:6379: the engine local draws on this machine"
    ):
        make(tmp_path / "c", "local", address="1.2.3.4:6379")
    assert not (tmp_path / "c").exists()


def test_no_cluster_at_an_address_is_told_soon() -> None:
    silent, expected = "no Ray cluster answers there", "expected HOST:PORT"
    for address, said in (
        ("127.0.0.1:9", silent), ("127.0.0.1:99999", silent), (f"{'x' * 300}:1", silent), ("nowhere", expected),
        ("127.0.0.1:\u00b2", expected), (f"127.0.0.1:{'9' * 5000}", expected),
    ):  # fmt: skip
        with pytest.raises(InputError, match=f"--address {address:.300}: {said}") as found:
            engine_of_ray.require_reachable(address)
        assert len(str(found.value)) < 600


def test_what_the_page_says_of_ray_and_kubernetes_can_be_read() -> None:
    from ray.scripts.scripts import start

    page = (Path(__file__).parents[3] / "docs/how-to/scale.md").read_text()
    known = {option for parameter in start.params for option in parameter.opts}
    asked = [re.findall(r"--[a-z-]+", line) for line in re.findall(r"ray start (.*)", page)]
    assert len(asked) == 2
    assert {option for options in asked for option in options} <= known
    job = yaml.safe_load(re.findall(r"```text\n(.*?)```", page, re.DOTALL)[0])
    assert job["kind"] == "RayJob"
    assert job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["template"]["spec"]["containers"]
    program: Any = typer.main.get_command(app)
    words = shlex.split(job["spec"]["entrypoint"])
    program.commands[words[1]].make_context(words[1], words[2:])


@pytest.mark.slow
def test_a_driver_that_is_killed_leaves_a_cohort_to_go_on_with(
    cluster: RayCluster, whole: dict[str, bytes], tmp_path: Path
) -> None:
    words = [
        "generate",
        "--cohort",
        "general_ward",
        "--patients",
        str(PATIENTS),
        "--seed",
        "7",
        "--out",
        str(tmp_path / "c"),
    ]
    words += ["--modalities", ",".join(FAKES), "--engine", "ray", "--address", cluster.address]
    run = subprocess.Popen(
        [sys.executable, "-m", "polyclinic", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    end = time.monotonic() + 120
    while not list((tmp_path / "c").glob(f"{PENDING}/slice-*.json")):
        assert time.monotonic() < end
        assert run.poll() is None
        time.sleep(0.05)
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert (tmp_path / "c" / MANIFEST).is_file()
    assert not Cohort.open(tmp_path / "c").complete
    again = subprocess.run(
        [sys.executable, "-m", "polyclinic", *words, "--resume"], capture_output=True, text=True
    )
    assert again.returncode == 0, again.stderr
    assert content(tmp_path / "c") == whole
