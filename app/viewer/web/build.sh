#!/usr/bin/env bash
# Builds the page into ../static: each file gzipped, and the hash of these sources, which a test compares.
set -euo pipefail
cd "$(dirname "$0")"
out=../static
[ -d node_modules ] && [ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --silent
npx tsc --noEmit
npx vite build --logLevel warn --outDir dist --emptyOutDir
rm -rf "$out"
mkdir -p "$out/assets"
find dist -type f | while read -r file; do gzip -9 -n -c "$file" > "$out/${file#dist/}.gz"; done
rm -rf dist
find src index.html package.json package-lock.json tsconfig.json vite.config.ts build.sh -type f | LC_ALL=C sort \
  | xargs -d '\n' sha256sum | sha256sum | cut -d ' ' -f 1 > "$out/sources.sha256"
du -sb "$out" | awk '{printf "static: %.2f MB (at most 4)\n", $1 / 1e6; exit $1 > 4e6}'
