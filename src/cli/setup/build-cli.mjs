// @ts-check
/**
 * Bundles the command line and its vCPU worker to dist/cli: Node 20 runs no TypeScript, and worker threads take
 * only files. Everything goes in except Node's own modules.
 */
import path from 'node:path'
import { build } from 'vite'
import { ROOT_DIR } from './progress.mjs'

await build({
  configFile: false,
  root: ROOT_DIR,
  logLevel: 'warn',
  publicDir: false,
  ssr: { noExternal: true },
  build: {
    ssr: true,
    target: 'node20',
    outDir: path.join(ROOT_DIR, 'dist/cli'),
    emptyOutDir: true,
    sourcemap: true,
    rollupOptions: {
      input: {
        webkvm: path.join(ROOT_DIR, 'src/cli/webkvm.ts'),
        vcpu: path.join(ROOT_DIR, 'workers/vcpu.ts'),
      },
      output: { entryFileNames: '[name].js', chunkFileNames: 'chunks/[name]-[hash].js' },
    },
  },
})
