// @ts-check
/**
 * Bundles the command line, its vCPU worker and the package's Node entries to dist/cli: Node 20 runs no TypeScript,
 * and worker threads take only files. Everything goes in except Node's own modules.
 *
 * Files are moved over the old ones one by one, so that a command that starts meanwhile finds whole files.
 */
import { mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs'
import path from 'node:path'
import process from 'node:process'
import { build } from 'vite'
import { ROOT_DIR } from './progress.mjs'

const OUT_DIR = path.join(ROOT_DIR, 'dist/cli')
const BUILD_DIR = `${OUT_DIR}-${process.pid}`

await build({
  configFile: false,
  root: ROOT_DIR,
  logLevel: 'warn',
  publicDir: false,
  ssr: { noExternal: true },
  build: {
    ssr: true,
    target: 'node20',
    outDir: BUILD_DIR,
    emptyOutDir: true,
    sourcemap: true,
    rollupOptions: {
      input: {
        webkvm: path.join(ROOT_DIR, 'src/cli/webkvm.ts'),
        node: path.join(ROOT_DIR, 'src/node.ts'),
        playwright: path.join(ROOT_DIR, 'src/playwright.ts'),
        vcpu: path.join(ROOT_DIR, 'workers/vcpu.ts'),
      },
      output: { entryFileNames: '[name].js', chunkFileNames: 'chunks/[name]-[hash].js' },
    },
  },
})

mkdirSync(path.join(OUT_DIR, 'chunks'), { recursive: true })
const depth = (/** @type {string} */ file) => file.split(path.sep).length
// Chunks first: an entry must not name one that is not there yet.
const files = readdirSync(BUILD_DIR, { recursive: true, encoding: 'utf8' })
  .filter((file) => /\.(?:js|map)$/u.test(file))
  .toSorted((a, b) => depth(b) - depth(a))
for (const file of files) renameSync(path.join(BUILD_DIR, file), path.join(OUT_DIR, file))
rmSync(BUILD_DIR, { recursive: true })
