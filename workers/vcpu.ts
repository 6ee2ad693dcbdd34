/** Entry of a vCPU's thread, and of the one that generates code, in a browser Worker and in a Node worker thread. */
import type { FromVcpu, ToCompiler, ToVcpu } from '#abi/messages.types.ts'
import { serveCompiler } from '#engine/compiler-loop.ts'
import { runVcpu } from '#engine/vcpu-loop.ts'
import type { VcpuPort } from '#engine/vcpu-loop.ts'

function browserPort(): VcpuPort {
  return {
    post: (message) => globalThis.postMessage(message),
    // Workers count from their own start: the difference of the origins brings both to the hub's.
    clock(originMs) {
      const shiftMs = performance.timeOrigin - originMs
      return () => (performance.now() + shiftMs) * 1e6
    },
  }
}

function start(message: ToVcpu | ToCompiler, port: VcpuPort): void {
  switch (message.type) {
    case 'start':
      return runVcpu(message, port)
    case 'compile':
      return serveCompiler(message, port)
  }
}

// Through `process`, so that a bundler for browsers sees no Node module.
const threads = typeof process === 'undefined' ? undefined : process.getBuiltinModule?.('node:worker_threads')
const parent = threads?.parentPort

if (parent) {
  const port: VcpuPort = {
    post: (message: FromVcpu) => parent.postMessage(message),
    // One epoch for all threads of the process.
    clock: () => () => Number(process.hrtime.bigint()),
  }
  parent.once('message', (message: ToVcpu | ToCompiler) => start(message, port))
} else {
  const port = browserPort()
  globalThis.addEventListener(
    'message',
    (event: MessageEvent<ToVcpu | ToCompiler>) => start(event.data, port),
    {
      once: true,
    },
  )
}
