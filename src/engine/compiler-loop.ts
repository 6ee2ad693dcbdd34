/**
 * The body of the thread that generates code for all vCPUs of a machine, so that they go on in the interpreter meanwhile, and
 * so that one generator, not one per vCPU, gets warm.
 */
import { CPU_REQ, REQ_JIT } from '../abi/layout.ts'
import { MESSAGE_PROTOCOL } from '../abi/messages.types.ts'
import type { ToCompiler } from '../abi/messages.types.ts'
import { knownHandlers } from './jit/batch.ts'
import { serveMailbox } from './jit/mailbox.ts'
import { CodeStore, SharedIndex } from './jit/shared-code.ts'
import { EngineError } from './vcpu-loop.ts'
import type { VcpuPort } from './vcpu-loop.ts'

/** Serves the mailboxes until the thread is terminated. Failures become a 'crashed' message. */
export function serveCompiler(message: ToCompiler, port: VcpuPort): void {
  try {
    if (message.protocol !== MESSAGE_PROTOCOL)
      throw new EngineError(`message protocol ${message.protocol}, want ${MESSAGE_PROTOCOL}`)
    knownHandlers()
    serveAll(message)
  } catch (error) {
    const known = error instanceof Error
    port.post({
      type: 'crashed',
      message: `code generation: ${known ? error.message : String(error)}`,
      stack: known ? error.stack : undefined,
    })
  }
}

/** An i32 that every vCPU counts up when it has put a batch into its mailbox. */
class Bell {
  readonly #rings: Int32Array

  constructor(buffer: SharedArrayBuffer) {
    this.#rings = new Int32Array(buffer)
  }

  get rings(): number {
    return Atomics.load(this.#rings, 0)
  }

  /** Sleeps until it has rung since. Profiles know sleep by this name. */
  wait(heard: number): void {
    Atomics.wait(this.#rings, 0, heard)
  }
}

function serveAll({ memory, vm, cpus, mailboxes, bell: buffer }: ToCompiler): never {
  const bell = new Bell(buffer)
  const store = new CodeStore(new SharedIndex(memory, vm))
  const words = new Int32Array(memory.buffer)
  for (;;) {
    const heard = bell.rings
    let served = false
    for (const [i, mailbox] of mailboxes.entries()) {
      if (!serveMailbox(mailbox, () => performance.now() * 1e6, store)) continue
      served = true
      // Without a wake-up: a vCPU that sleeps looks when it goes on.
      Atomics.or(words, ((cpus[i] ?? 0) + CPU_REQ) >>> 2, REQ_JIT)
    }
    if (!served) bell.wait(heard)
  }
}
