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
# the licences of what the bundle may hold, which ask to come with it
npm ls --omit=dev --all --parseable | tail -n +2 | LC_ALL=C sort -u | node -e '
  const fs = require("fs"), path = require("path")
  for (const folder of fs.readFileSync(0, "utf8").trim().split("\n")) {
    const own = JSON.parse(fs.readFileSync(path.join(folder, "package.json"), "utf8"))
    const file = fs.readdirSync(folder).filter((name) => /^licen[cs]e/i.test(name) && fs.statSync(path.join(folder, name)).isFile()).sort()[0]
    console.log(`== ${own.name} ${own.version}, ${own.license ?? "see below"}\n${file ? fs.readFileSync(path.join(folder, file), "utf8") : ""}`)
  }' | gzip -9 -n > "$out/licenses.txt.gz"
find src index.html package.json package-lock.json tsconfig.json vite.config.ts build.sh -type f | LC_ALL=C sort \
  | xargs -d '\n' sha256sum | sha256sum | cut -d ' ' -f 1 > "$out/sources.sha256"
du -sb "$out" | awk '{printf "static: %.2f MB (at most 4)\n", $1 / 1e6; exit $1 > 4e6}'
