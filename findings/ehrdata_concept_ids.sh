#!/usr/bin/env bash
# ehrdata 0.4.0: setup_variables checks the list `concept_ids` and then returns every concept (needs Python 3.12).
#
# Its docstring says "Concept IDs to use from the data tables. If not specified, 'all' are used." Guess: concept_ids=[3027018]
# (heart rate) gives a tensor of one variable. Seen: blood pressure, heart rate and temperature all come back, with the same
# shape as for "all" and without a warning, even for a concept that no row has; a bare number is refused with a
# TypeError, so the argument is read. So a table of many concepts is to be cut down before it is opened.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3.12 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check ehrdata==0.4.0 duckdb==2.0.1 anndata==0.13.4
"$work/env/bin/python" - <<'PYTHON'
import logging

import duckdb
import ehrdata

PRESSURE, HEART_RATE, TEMPERATURE, ABSENT = 3004249, 3027018, 3020891, 3016723
connection = duckdb.connect()
for statement in (
    "CREATE TABLE person AS SELECT 1 AS person_id, 8507 AS gender_concept_id, 1970 AS year_of_birth",
    """CREATE TABLE visit_occurrence AS SELECT 1 AS visit_occurrence_id, 1 AS person_id,
       DATE '2024-01-01' AS visit_start_date, DATE '2024-01-05' AS visit_end_date""",
    f"""CREATE TABLE measurement AS SELECT * FROM (VALUES
        (1, 1, {PRESSURE}, DATE '2024-01-01', 120.0, 8876, 'mm[Hg]'),
        (2, 1, {HEART_RATE}, DATE '2024-01-02', 70.0, 8483, '/min'),
        (3, 1, {TEMPERATURE}, DATE '2024-01-02', 36.6, 8653, 'Cel'))
        AS rows(measurement_id, person_id, measurement_concept_id, measurement_date, value_as_number,
                unit_concept_id, unit_source_value)""",
):
    connection.execute(statement)
logging.disable(logging.WARNING)


def read(concept_ids):
    """Read the measurements of the visit by day."""
    visits = ehrdata.io.omop.setup_obs(connection, "person_visit_occurrence")
    return ehrdata.io.omop.setup_variables(
        visits, backend_handle=connection, data_tables="measurement", data_field_to_keep="value_as_number",
        interval_length_number=1, interval_length_unit="day", num_intervals=4, concept_ids=concept_ids,
    )


for concept_ids in ("all", [HEART_RATE], [ABSENT]):
    data = read(concept_ids)
    found = sorted(data.var["data_table_concept_id"])
    print(f"concept_ids={concept_ids}: {found}, shape {data.shape}")
    assert found == sorted((PRESSURE, HEART_RATE, TEMPERATURE)), "changed"
try:
    read(HEART_RATE)
except TypeError as error:
    print("a bare number:", error)
else:
    raise SystemExit("changed: a bare number is taken")
PYTHON
