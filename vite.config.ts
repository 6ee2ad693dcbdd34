import { defineConfig } from 'vite'
import { guestsPlugin, wasmRebuildPlugin } from './src/cli/serve/vite-plugins.ts'

// SharedArrayBuffer exists only in pages that are cross-origin isolated (HTML, "COOP" and "COEP").
const isolation = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
  'Cross-Origin-Resource-Policy': 'same-origin',
}

export default defineConfig({
  // Relative, so that a build works from any folder of a static host.
  base: './',
  plugins: [guestsPlugin(), ...(process.env['WEBKVM_WATCH'] === '1' ? [wasmRebuildPlugin()] : [])],
  server: {
    host: '127.0.0.1',
    port: 8086,
    headers: isolation,
    watch: { ignored: ['**/.cache/**', '**/dist/**'] },
  },
  preview: { host: '127.0.0.1', port: 8087, headers: isolation },
  worker: { format: 'es' },
  // Beside dist/cli, which is not the page's to empty.
  build: { outDir: 'dist/page', target: 'esnext', sourcemap: true, chunkSizeWarningLimit: 2048 },
})
