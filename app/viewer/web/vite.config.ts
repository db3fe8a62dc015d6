import { defineConfig } from 'vite'

export default defineConfig({
  base: '/',
  build: { target: 'es2022', modulePreload: { polyfill: false }, chunkSizeWarningLimit: 4000, assetsInlineLimit: 0 },
  worker: { format: 'es' },
})
