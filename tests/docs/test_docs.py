"""What README and docs say holds: links, commands, settings, code blocks and file names are those of the program."""

import ast
import importlib
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from pydantic import BaseModel, ValidationError

from polyclinic.app.cli import app
from polyclinic.app.stream.scenario import ScenarioConfig
from polyclinic.conditioning.design.cohort_config import CohortConfig
from polyclinic.core.config import DatasetConfig, TrainConfig, shipped
from polyclinic.core.errors import InputError
from polyclinic.core.instance_name import base_of
from polyclinic.core.registry import KINDS as KINDS_OF_PLUGIN
from polyclinic.core.registry import load_modality, names
from polyclinic.core.training import weights
from polyclinic.eval.policy import Policy

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
GENERATED = {
    page for page in PAGES if page.read_text(encoding="utf-8").count("The full page is made from the code")
}
MODALITIES = frozenset(names("modalities"))
FENCE = re.compile(r"^( *)```(\w*)([^\n]*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
COMMANDS: Any = typer.main.get_command(app)
UsageError: Any = typer.BadParameter.__base__  # what the parser raises; typer has no public name for it
MODELS: list[type[BaseModel]] = [DatasetConfig, CohortConfig, Policy, ScenarioConfig, TrainConfig]
PLACEHOLDER = re.compile(r"[A-Z][A-Z_]*\d?")
KINDS = {"--cohort": "cohort", "--policy": "policy", "--scenario": "scenario", "--config": "train"}


def page_name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """Language ("" for none) and text of each fenced block, then of each indented one."""
    for _, language, _, body in FENCE.findall(text):
        yield language, body
    for block in re.findall(r"(?:^\n)((?:(?: {4}[^\n]*)?\n)+)", FENCE.sub("", text), re.MULTILINE):
        if block.strip():
            yield "", "".join(line[4:] + "\n" for line in block.strip("\n").split("\n"))


def commands(text: str) -> Iterator[str]:
    """Every `polyclinic ...`: lines of blocks, and code within sentences, which may leave out what is needed."""
    for language, body in blocks(text):
        if language in ("", "sh", "bash"):
            lines = body.replace("\\\n", " ").splitlines()
            yield from (line.strip() for line in lines if re.match(r"\s*polyclinic ", line))
    for code in re.findall(r"`([^`\n]+)`", FENCE.sub("", text)):
        if code.startswith("polyclinic "):
            yield code + " ..."


FOUND = [
    (page_name(page), command) for page in PAGES for command in dict.fromkeys(commands(page.read_text()))
]


def test_commands_are_found() -> None:
    assert len(FOUND) > 60
    assert {command.split()[1] for _, command in FOUND} >= set(COMMANDS.commands) - {"purge"}


def words_of(command: str) -> tuple[list[str], bool]:
    """Words after `polyclinic`, without comment, redirection and alternatives; whether parts were left out."""
    words = shlex.split(command, comments=True)[1:]
    for stop in (">", "||", "&&", "|"):
        if stop in words:
            words = words[: words.index(stop)]
    return [word for word in words if word != "..."], "..." in words


def checked(command: str) -> None:
    """Raises AssertionError unless the program takes this command."""
    words, partial = words_of(command)
    if words[0] in ("--help", "--version"):
        return
    assert words[0] in COMMANDS.commands, f"no command {words[0]!r}"
    program, rest = COMMANDS.commands[words[0]], words[1:]
    rest = [number_for(option, word) for option, word in pairwise(["", *rest])]
    try:
        program.make_context(words[0], list(rest))
    except UsageError as error:
        if not (partial and type(error).__name__ == "MissingParameter"):
            raise AssertionError(f"{command}: {error.format_message()}") from None
    check_settings([value for option, value in pairwise(rest) if option == "--set"])
    for option, value in pairwise(rest):
        if option == "--modalities":
            assert not {base_of(name) for name in value.split(",")} - MODALITIES, value
        elif not is_path(value) and option in KINDS:
            assert (shipped() / KINDS[option] / f"{value.split(':')[0]}.yaml").is_file(), f"{option} {value}"
        elif not is_path(value) and option == "--init":
            assert value in weights.available(), f"--init {value}"


def number_for(option: str, word: str) -> str:
    """A placeholder of a number, such as E of `--epsilon E`, as a number."""
    numbers = {"--epsilon", "--delta", "--limit", "--patients", "--seed", "--regenerate", "--seconds"}
    return "1" if option in numbers and PLACEHOLDER.fullmatch(word) else word


def is_path(value: str) -> bool:
    return value.endswith((".yaml", ".safetensors", "/")) or bool(PLACEHOLDER.fullmatch(value))


def check_settings(texts: list[str]) -> None:
    """Each modality takes its settings together; `a.b=x|y` stands for two values."""
    found: dict[str, dict[str, Any]] = {}
    for text in texts:
        place, _, values = text.partition("=")
        modality, _, key = place.partition(".")
        for value in values.split("|"):
            if not PLACEHOLDER.fullmatch(key):
                known = not (PLACEHOLDER.fullmatch(value) or value == "...")
                found.setdefault(modality, {})[key] = yaml.safe_load(value) if known else object()
                check_options(modality, found[modality])


def check_options(modality: str, options: dict[str, Any]) -> None:
    """The modality knows the keys and takes the values; an `object()` stands for any value."""
    try:
        load_modality(modality, options)
        said = ""
    except InputError as error:
        said = str(error)
    assert "unknown key" not in said, said
    assert not said or any(type(value) is object for value in options.values()), said


@pytest.mark.parametrize(("page", "command"), FOUND, ids=lambda text: str(text)[:70])
def test_command(page: str, command: str) -> None:
    checked(command)


@pytest.mark.parametrize(
    "wrong",
    [
        "polyclinic generat --patients 3 --out c",
        "polyclinic generate --patients 3 --out c extra",
        "polyclinic generate --patients 3 --out c --set imaging.kompression=rle",
        "polyclinic generate --patients 3 --out c --cohort nowhere",
        "polyclinic train imaging --data D --out o --config imaging_public --public",
        "polyclinic release c --policy partner",
        "polyclinic evaluate ... --referense D",
    ],
)
def test_a_wrong_command_is_found(wrong: str) -> None:
    with pytest.raises(AssertionError):
        checked(wrong)


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_settings_named_in_sentences_exist(page: Path) -> None:
    modalities = "|".join(MODALITIES)
    for modality, key in re.findall(rf"`({modalities})\.([a-z_]+)[`=]", page.read_text()):
        if key not in ("safetensors", "yaml"):
            check_options(modality, {key: object()})


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_python_compiles_and_its_imports_exist(page: Path) -> None:
    for language, body in blocks(page.read_text()):
        if language != "python" and not (not language and re.match(r"(from|import) \w", body)):
            continue
        for node in ast.walk(ast.parse(body)):
            names: list[tuple[str, str]] = []
            if isinstance(node, ast.Import):
                names = [(alias.name, "") for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [(node.module or "", alias.name) for alias in node.names]
            for module, name in names:
                if module.split(".")[0] == "polyclinic":
                    assert not name or exists(f"{module}.{name}"), f"{page.name}: {module}.{name}"


def exists(dotted: str) -> bool:
    """Whether a dotted name is a module of ours or something in one."""
    parts = dotted.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            thing: Any = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            if not hasattr(thing, part):
                return False
            thing = getattr(thing, part)
        return True
    return False


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_names_in_code_exist(page: Path) -> None:
    for name in re.findall(r"`(polyclinic(?:\.\w+)+)[`(]", FENCE.sub("", page.read_text())):
        assert exists(name) or name.removeprefix("polyclinic.") in KINDS_OF_PLUGIN, name


def is_yaml(language: str, body: str) -> bool:
    return language == "yaml" or (not language and bool(re.match(r"[a-z_]+:( |$)", body, re.MULTILINE)))


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_settings_are_those_of_the_program(page: Path) -> None:
    for language, body in blocks(page.read_text()):
        if is_yaml(language, body):
            check_yaml(yaml.safe_load(body))


def check_yaml(values: dict[str, Any]) -> None:
    """One of the kinds of YAML takes these keys and values; a page may leave out keys that a file needs."""
    fit = [model for model in MODELS if not set(values) - set(model.model_fields)]
    assert fit, f"no kind of YAML has all of these keys: {', '.join(values)}"
    faults = [faults_of(model, values) for model in fit]
    assert any(not fault for fault in faults), faults
    for modality, options in (values.get("options") or {}).items() if CohortConfig in fit else ():
        if modality in MODALITIES:
            load_modality(modality, options)


def faults_of(model: type[BaseModel], values: dict[str, Any]) -> list[Any]:
    try:
        model.model_validate(values)
    except ValidationError as error:
        return [e for e in error.errors() if not (e["type"] == "missing" and len(e["loc"]) == 1)]
    return []


@pytest.mark.parametrize(
    "wrong",
    [
        {"strata": [{"share": 2, "who": {"sex": "F"}}]},
        {"record": "file", "fields": {"age": {"colum": "age"}}},
        {"licenze": "internal"},
    ],
)
def test_a_wrong_setting_is_found(wrong: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        check_yaml(wrong)


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_files_named_exist(page: Path) -> None:
    """Files and folders of the repository, by path or, of Python files, by name alone."""
    folders = "app|benchmarks|conditioning|configs|core|docs|eval|modalities|notebooks|tests"
    text = page.read_text()
    for name in re.findall(rf"(?<![\w/])((?:{folders})/[\w./*-]*[\w*])", re.sub(r"\]\([^)]*\)", "]", text)):
        assert list(ROOT.glob(name)) or list(ROOT.glob(name + "*")), f"{page.name}: {name}"
    known = {path.name for folder in folders.split("|") for path in (ROOT / folder).rglob("*.py")}
    made = set(re.findall(r'title="(?:\w+/)*(\w+\.py)"', text))
    for name in re.findall(r"`(\w+\.py)`", text):
        assert name in known | made, f"{page.name}: {name}"


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_links_work_in_the_repository(page: Path) -> None:
    """Of every page, as it is read without the site; a heading of a page that is generated is in the site alone."""
    from markdown.extensions.toc import slugify

    text = FENCE.sub("", page.read_text())
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'src="([^"]+)"', text)
    for target, _, anchor in (link.partition("#") for link in links if "://" not in link):
        place = (page.parent / target).resolve() if target else page
        assert place.exists(), target
        if anchor and place not in GENERATED:
            heads = re.findall(r"^#+ (.+)$", place.read_text(), re.MULTILINE)
            assert anchor in {slugify(head, "-") for head in heads}, f"{target}#{anchor}"


def test_generated_pages_are_short_in_the_repository_and_say_where_the_full_ones_are() -> None:
    assert len(GENERATED) == 7
    for page in GENERATED:
        assert f"site/reference/{page.stem}.html" in page.read_text()
        assert len(page.read_text().splitlines()) < 8  # the rest is made from the code, and never stale


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built strictly: a link or an anchor that leads nowhere, or a page that no menu has, is an error."""
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder], cwd=ROOT,
        capture_output=True, text=True, check=False, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text()
        loaded = re.findall(r'<(?:script|img|iframe|source)[^>]*\ssrc="([^"]+)"', text)
        loaded += re.findall(r'<link[^>]*rel="(?:stylesheet|preconnect|icon)"[^>]*href="([^"]+)"', text)
        assert loaded
        assert not [url for url in loaded if "//" in url], page.name


def test_the_site_can_be_searched(site: Path) -> None:
    found = json.loads((site / "search" / "search_index.json").read_text())["docs"]
    assert any("Poisson" in entry["text"] for entry in found)


def test_the_reference_is_complete(site: Path) -> None:
    import polyclinic

    cli, api = ((site / "reference" / name).read_text() for name in ("cli.html", "api.html"))
    for name, command in COMMANDS.commands.items():
        assert f"polyclinic {name}" in cli
        options = [p for p in command.params if p.param_type_name == "option"]
        assert all(p.opts[0] in cli for p in options), name
    assert all(f">{name}<" in api for name in polyclinic.__all__ if not name.startswith("__"))


def test_the_picture_is_small() -> None:
    from PIL import Image

    path = ROOT / "docs" / "img" / "patient.png"
    assert path.stat().st_size < 300_000
    with Image.open(path) as picture:
        assert picture.width > 1000
