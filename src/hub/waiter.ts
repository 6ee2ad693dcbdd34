/**
 * How the hub sleeps until a vCPU rings VM_HUB_DOORBELL: on the doorbell itself where the host has Atomics.waitAsync,
 * else until somebody calls kick() (a message from a vCPU worker: VM_HUB_KICK tells the kernel to send one).
 */

export interface HubWaiter {
  /** True if vCPU workers must send a message, because the doorbell cannot be waited on. */
  readonly needsKick: boolean
  /** Resolves when the doorbell no longer reads `seen`, or at a kick; may resolve for no reason. */
  wait(seen: number): Promise<void>
  /** Lets the host's other work (rendering, I/O) run once. */
  breathe(): Promise<void>
  kick(): void
}

interface AsyncWait {
  readonly async: boolean
  readonly value: Promise<string> | string
}

type WaitAsync = (words: Int32Array, index: number, value: number) => AsyncWait

/**
 * index is the doorbell's index in `words`. byMessage forces kicks: for hosts whose waitAsync exists but does not wake
 * the event loop (Node 20 resolves it only when something else turns the loop, seconds later).
 */
export function createWaiter(words: Int32Array, index: number, byMessage = false): HubWaiter {
  const waitAsync = byMessage ? undefined : (Atomics as unknown as { waitAsync?: WaitAsync }).waitAsync
  let wake: (() => void) | undefined
  const kicked = (): Promise<void> => new Promise((resolve) => (wake = resolve))
  const kick = (): void => {
    const call = wake
    wake = undefined
    call?.()
  }
  if (waitAsync === undefined) return { needsKick: true, wait: () => kicked(), breathe, kick }
  return {
    needsKick: false,
    async wait(seen) {
      const result = waitAsync(words, index, seen)
      if (result.async) await result.value
    },
    breathe,
    // Somebody on this thread wants the loop to run: the doorbell is the one thing it listens to.
    kick() {
      Atomics.add(words, index, 1)
      Atomics.notify(words, index)
    },
  }
}

/** A macrotask without the 4 ms clamp of nested setTimeout. */
function breathe(): Promise<void> {
  return new Promise((resolve) => {
    const channel = new MessageChannel()
    channel.port1.onmessage = () => {
      channel.port1.close()
      resolve()
    }
    channel.port2.postMessage(0)
  })
}
