// @ts-check
/** `npm start` (and `npm run dev` with --watch): sets up what is missing, serves the page on loopback, opens it. */
import { spawn } from 'node:child_process'
import process from 'node:process'
import { ROOT_DIR, runMain, say } from './progress.mjs'
import { ensureGuests, ensureNode, ensureNpmPackages, ensureWasm, tool } from './steps.mjs'

await runMain(() => {
  const args = process.argv.slice(2)
  ensureNode()
  ensureNpmPackages()
  ensureWasm()
  ensureGuests(['default'])
  serve(
    args.includes('--watch'),
    args.filter((arg) => arg !== '--watch'),
  )
})

/** @param {boolean} watch @param {readonly string[]} extra arguments for Vite, such as --port */
function serve(watch, extra) {
  const desktop = process.platform !== 'linux' || process.env['DISPLAY'] || process.env['WAYLAND_DISPLAY']
  const open = desktop && !process.env['CI'] ? ['--open'] : []
  say('» serving the page (Ctrl-C ends it)')
  const server = spawn(tool('vite'), [...open, ...extra], {
    cwd: ROOT_DIR,
    stdio: 'inherit',
    env: { ...process.env, ...(watch ? { WEBKVM_WATCH: '1' } : {}) },
  })
  for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP']))
    process.on(signal, () => server.kill(signal))
  server.on('exit', (code) => process.exit(code ?? 0))
}
