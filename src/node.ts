/**
 * The Node side of webkvm: createNodeHost() gives createMachine() its threads, files and clock.
 *
 *   import { createMachine, createNodeHost } from 'webkvm/node'
 *   const machine = await createMachine({ kernel: 'vmlinuz', append: 'console=ttyS0' }, createNodeHost())
 *
 * Runs from source under a TypeScript loader and as dist/cli/node.js, which `npm run build:cli` makes.
 */
import { createNodeHost as createHost } from '#host/node/node-host.ts'
import type { NodeHostOptions } from '#host/node/node-host.ts'
import type { MachineHost } from '#machine/host.ts'

export { createMachine } from '#machine/create.ts'
export { Machine } from '#machine/machine.ts'
export { ConfigError } from '#machine/config.ts'
export { HostFeatureError, ImageError } from '#machine/host.ts'
export { BootError } from '#firmware/boot.ts'
export { WaitError } from '#machine/console-stream.ts'
export type { NodeHostOptions } from '#host/node/node-host.ts'

/** src/node.ts stands one folder below the package, dist/cli/node.js two. */
const packageRoot = new URL(import.meta.url.endsWith('.ts') ? '../' : '../../', import.meta.url)

/** Throws HostFeatureError when the engine is not built. */
export function createNodeHost(options: Partial<NodeHostOptions> = {}): MachineHost {
  return createHost({
    wasmFolder: new URL('public/wasm/', packageRoot),
    vcpuWorker: new URL('dist/cli/vcpu.js', packageRoot),
    ...options,
  })
}
