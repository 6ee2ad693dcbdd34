/** Vite plugins of this repository: guests under /guests/, and a rebuild of the Wasm parts while developing. */
import { spawn } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { Plugin } from 'vite'
import { guestFiles } from './guest-files.ts'

const ROOT_DIR = path.resolve(import.meta.dirname, '../../..')
const GUESTS_DIR = path.join(ROOT_DIR, '.cache/guests')
/** Folders from which kernel.wasm, the interpreter and the tables are made. */
const WASM_SOURCES = ['abi', 'engine', 'isa', 'kernel', 'wasm'].map((area) =>
  path.join(ROOT_DIR, 'src', area),
)
const REBUILD_DELAY_MS = 150

/** Serves guests from the cache; a production build gets a copy of those in WEBKVM_GUESTS (default: `default`). */
export function guestsPlugin(): Plugin {
  let outDir = ''
  return {
    name: 'webkvm:guests',
    configResolved(config) {
      outDir = path.resolve(config.root, config.build.outDir)
    },
    configureServer(server) {
      server.middlewares.use('/guests', guestFiles(GUESTS_DIR))
    },
    configurePreviewServer(server) {
      server.middlewares.use('/guests', guestFiles(GUESTS_DIR))
    },
    writeBundle() {
      const wanted = (process.env['WEBKVM_GUESTS'] ?? 'default').split(',').filter((name) => name !== '')
      const guests = wanted.filter((name) => existsSync(path.join(GUESTS_DIR, name, 'manifest.json')))
      const target = path.join(outDir, 'guests')
      mkdirSync(target, { recursive: true })
      for (const name of guests)
        cpSync(path.join(GUESTS_DIR, name), path.join(target, name), { recursive: true })
      writeFileSync(
        path.join(target, 'index.json'),
        `${JSON.stringify({ format: 1, guests }, undefined, 2)}\n`,
      )
    },
  }
}

/** Rebuilds the Wasm parts when one of their sources changes, then reloads the page. Builds never overlap. */
export function wasmRebuildPlugin(): Plugin {
  let timer: NodeJS.Timeout | undefined
  let running = false
  let again = false
  return {
    name: 'webkvm:wasm-rebuild',
    apply: 'serve',
    configureServer(server) {
      const rebuild = (): void => {
        if (running) {
          again = true
          return
        }
        running = true
        server.config.logger.info('wasm: rebuilding', { timestamp: true })
        const child = spawn(process.execPath, [path.join(ROOT_DIR, 'src/cli/setup/build-wasm.mjs')], {
          stdio: 'inherit',
        })
        child.on('exit', (code) => {
          running = false
          if (code === 0) server.ws.send({ type: 'full-reload' })
          else server.config.logger.error(`wasm: the build failed (${code}); the page keeps the old one`)
          if (again) {
            again = false
            rebuild()
          }
        })
      }
      server.watcher.on('change', (file) => {
        if (!WASM_SOURCES.some((dir) => file.startsWith(dir + path.sep)) || file.endsWith('.test.ts')) return
        clearTimeout(timer)
        timer = setTimeout(rebuild, REBUILD_DELAY_MS)
      })
      server.watcher.add(WASM_SOURCES)
    },
  }
}
