"""The VCF: read by pysam, the same bytes however patients are sliced, beside unchanged files of other modalities."""

import gzip
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polyclinic import generate_cohort, open_cohort
from polyclinic.app import cli
from polyclinic.core import extras
from polyclinic.core.capabilities import by_default
from polyclinic.core.errors import InputError
from polyclinic.core.registry import sound
from polyclinic.modalities.genotypes import Genotypes, export
from polyclinic.modalities.genotypes.panel import panel

pysam = pytest.importorskip("pysam", reason="pip install 'polyclinic[genotypes]'")
BOTH = ["records", "genotypes"]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("genotypes") / "c"
    generate_cohort("icu", patients=9, seed=4, out=out, modalities=BOTH, workers=1)
    return out


def files(folder: Path, *but: str) -> dict[str, bytes]:
    every = (path for path in folder.rglob("*") if path.is_file() and path.name not in but)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in every}


def test_pysam_reads_every_call(cohort: Path) -> None:
    path = cohort / "genotypes" / export.FILE
    own = Genotypes().read(cohort, [str(p) for p in open_cohort(cohort).patients.index])
    assert len(own) == 9
    with pysam.VariantFile(str(path)) as opened:
        assert opened.header.version == "VCFv4.3"
        assert list(opened.header.samples) == list(own)
        for i, (row, site) in enumerate(zip(opened, panel().sites, strict=True)):
            assert (row.chrom, row.pos, row.id, row.ref, row.alts) == (
                f"chr{site.chromosome}", site.position, site.id, site.ref, (site.alt,),
            )  # fmt: skip
            assert row.info["EURAF"][0] == pytest.approx(site.frequency, rel=1e-5)
            called = 0
            for patient, sample in row.samples.items():
                pair = own[patient].arrays["alleles"][i]
                expected = tuple(int(one) for one in pair if one >= 0) or (None,)
                assert sample.allele_indices == expected
                assert sample.phased or len(expected) == 1
                called += len(pair[pair >= 0])
            assert row.info["AN"] == called
        gene = [row.id for row in opened.fetch("chr10", 94700000, 94800000)]  # by the tabix index
    assert gene == ["rs12248560", "rs12769205", "rs4986893", "rs4244285"]


def test_every_file_says_that_it_is_synthetic_and_is_bgzip(cohort: Path) -> None:
    path = cohort / "genotypes" / export.FILE
    assert f"##synthetic={export.SYNTHETIC}\n" in gzip.decompress(path.read_bytes()).decode()
    assert path.read_bytes()[12:14] == b"BC"  # the subfield of a block of bgzip


def test_the_same_bytes_twice_in_other_slices_and_nothing_else_moves(cohort: Path, tmp_path: Path) -> None:
    generate_cohort(
        "icu", patients=9, seed=4, out=tmp_path / "again", modalities=BOTH, workers=1, batch_size=2
    )
    generate_cohort("icu", patients=9, seed=4, out=tmp_path / "without", modalities=["records"], workers=1)
    whole, again, without = (files(f) for f in (cohort, tmp_path / "again", tmp_path / "without"))
    mine = {name for name in whole if name.startswith("genotypes/")}
    assert mine == {
        f"genotypes/{name}" for name in ("genotypes.vcf.gz", "genotypes.vcf.gz.tbi", "labels.csv")
    }
    assert all(whole[name] == again[name] for name in mine)
    listing = {"manifest.json", "patients.parquet"}  # say which records there are
    # the record states the genotypes, as results on blood
    stated = {
        f"fhir/{kind}.ndjson" for kind in ("DiagnosticReport", "Observation", "ServiceRequest", "Specimen")
    }
    shared = set(without) - listing - stated
    assert shared == set(whole) - mine - listing - stated
    assert all(whole[name] == without[name] for name in shared)


def test_sex_and_id_are_asserted(cohort: Path) -> None:
    patients = open_cohort(cohort).patients
    found = Genotypes().assertions(cohort, [str(p) for p in patients.index])
    for patient, row in patients.iterrows():
        said = {a.subject: a.low for a in found[str(patient)]}
        assert said.pop("CYP2C19 genotype").count("*") == 2
        said = {subject: value for subject, value in said.items() if not subject.endswith(" genotype")}
        assert said == {"patient id": str(patient), "sex": row["sex"]}


def test_a_damaged_file_is_one_line(cohort: Path, tmp_path: Path) -> None:
    place = tmp_path / "genotypes"
    place.mkdir()
    content = (cohort / "genotypes" / export.FILE).read_bytes()
    head = b"##fileformat=VCFv4.3\n#CHROM" + b"\t." * 8 + b"\tp\n"
    unknown = gzip.compress(head + b"chr1\t5\trs1" + b"\t." * 6 + b"\t0|1\n")
    short = gzip.compress(head + b"chr1\t169549811\trs6025\n")
    for damaged in (content[: len(content) // 2], b"no gzip", unknown, short):
        (place / export.FILE).write_bytes(damaged)
        with pytest.raises(InputError, match=f"{place / export.FILE}: cannot be read as our VCF"):
            Genotypes().read(tmp_path, ["p"])


def test_the_command_line_draws_them_where_they_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*argv: object) -> tuple[Any, str]:
        monkeypatch.setattr(sys, "argv", ["polyclinic", *map(str, argv)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, capsys.readouterr().err

    ask = ("generate", "--cohort", "icu", "--patients", 3, "--modalities", "genotypes", "--workers", 1)
    code, said = run(*ask, "--out", tmp_path / "c")
    assert code == 0, said
    assert set(files(tmp_path / "c" / "genotypes")) == {export.FILE, f"{export.FILE}.tbi", "labels.csv"}
    code, said = run(*ask, "--out", tmp_path / "d", "--set", "genotypes.format=plink")
    assert code == 2
    assert "'plink' is not installed; expected one of: vcf" in said
    assert not (tmp_path / "d").exists()


def test_without_pysam_it_is_refused_before_anything_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"polyclinic\[genotypes\]"):
        Genotypes().generator(())


def test_genotypes_are_drawn_on_request_alone() -> None:
    installed: dict[str, Any] = sound("modalities")
    assert "genotypes" in installed
    assert set(installed) - set(by_default(installed)) == {"genotypes", "wearable"}


def test_alleles_are_int8(cohort: Path) -> None:
    patient = str(open_cohort(cohort).patients.index[0])
    alleles = Genotypes().read(cohort, [patient, "nobody"])[patient].arrays["alleles"]
    assert alleles.dtype == np.int8
    assert alleles.shape == (len(panel().sites), 2)
