import { defineConfig, type Plugin } from 'vite'

// Decoders that compile text at run time, which the page's policy forbids: the server decodes images, fzstd arrays.
const LEFT_OUT: [RegExp, string][] = [
  [/decoders\/decode(HTJ2K|JPEG2000|JPEGLS|JPEGBaseline8Bit)\.js$/, 'const none = async () => { throw new Error("the server decodes") }; export { none as initialize }; export default none'],
  [/numcodecs\/(dist\/)?(blosc|lz4|zstd)\.js$/, 'export default { fromConfig() { throw new Error("this compression is not read here") } }'],
]

function leaveOut(): Plugin {
  return { name: 'leave-out', enforce: 'pre', load: (id) => LEFT_OUT.find(([path]) => path.test(id.split('?')[0]!))?.[1] }
}

export default defineConfig({
  base: '/',
  plugins: [leaveOut()],
  build: { target: 'es2022', modulePreload: { polyfill: false }, chunkSizeWarningLimit: 4000, assetsInlineLimit: 0 },
  worker: { format: 'es', plugins: () => [leaveOut()] },
})
