#!/usr/bin/env bash
# numcodecs.js 0.3.2 (npm, the codecs of zarrita 0.7.5): its zstd decoder compiles JavaScript from text at run time.
# Under a content security policy without 'unsafe-eval', also one with 'wasm-unsafe-eval', a zarr store with zstd, the
# default of zarr 3, therefore cannot be read in a browser: EvalError. Node's --disallow-code-generation-from-strings
# asks the same of the engine. Exits non-zero if that changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-audit --no-fund numcodecs@0.3.2
cat > decode.mjs <<'JS'
const { default: Zstd } = await import('numcodecs/zstd')
const codec = Zstd.fromConfig({})
try {
  console.log('decoded', [...(await codec.decode(await codec.encode(new Uint8Array([1, 2, 3]))))].join())
} catch (error) {
  console.log(error.name)
}
JS
free=$(node decode.mjs)
strict=$(node --disallow-code-generation-from-strings decode.mjs)
echo "numcodecs 0.3.2, zstd: $free; where no code is made from text: $strict"
[ "$free" = "decoded 1,2,3" ] && [ "$strict" = "EvalError" ]
