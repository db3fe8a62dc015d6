#!/usr/bin/env bash
# natsort 8.4.0: a plain folder named `icu` beside the notebook breaks `import anndata`.
#
# Intensive-care data lie in folders named icu (MIMIC-IV has `hosp` and `icu`), and anndata imports natsort, which prefers
# PyICU when `import icu` succeeds and falls back to `locale` on ImportError. Guess: without PyICU nobody meets this, since a
# folder of CSV files is no package. Seen: Python takes a folder without __init__.py on the import path for a namespace
# package, so `import icu` succeeds, and natsort, hence anndata, ends in AttributeError: module 'icu' has no attribute
# 'Locale'. The same from the folder above the data works. The way out is another folder name or working directory.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check natsort==8.4.0 anndata==0.12.19
mkdir -p "$work/mimic/icu"
echo "subject_id,stay_id" > "$work/mimic/icu/icustays.csv"

cd "$work"
"$work/env/bin/python" -c 'import anndata; print("beside mimic/: anndata is imported")'
cd "$work/mimic"
for package in natsort anndata; do
    if "$work/env/bin/python" -c "import $package" 2> "$work/said"; then
        echo "changed: $package is imported beside icu/"
        exit 1
    fi
    echo "beside icu/: import $package: $(tail -n 1 "$work/said")"
    grep -q "AttributeError: module 'icu' has no attribute 'Locale'" "$work/said"
done
