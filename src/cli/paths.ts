/** Where the command finds what set-up built: beside its own bundle, so it works from any folder. */
import type { NodeHostOptions } from '#host/node/node-host.ts'

/** dist/cli/webkvm.js stands two folders below the package. */
const packageRoot = new URL('../../', import.meta.url)

export const engineFiles = (): NodeHostOptions => ({
  wasmFolder: new URL('public/wasm/', packageRoot),
  vcpuWorker: new URL('dist/cli/vcpu.js', packageRoot),
})

export const guestsFolder = (): URL => new URL('.cache/guests/', packageRoot)
