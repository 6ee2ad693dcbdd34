/**
 * Messages between the machine (hub's thread) and vCPU workers: control only, the hot path is shared memory.
 *
 * Life of a worker: 'start' -> 'ready'; it then runs until CPU_REQ has REQ_PAUSE, answers 'paused', and sleeps on CPU_REQ
 * until the machine cleared the bit and notified (no message). A machine starts with REQ_PAUSE set on every vCPU.
 * REQ_STOP ends it with 'stopped'.
 */
export const MESSAGE_PROTOCOL = 1

export type ToVcpu = {
  readonly type: 'start'
  readonly protocol: number
  readonly vcpu: number
  readonly memory: WebAssembly.Memory
  readonly kernel: WebAssembly.Module
  readonly interp: WebAssembly.Module
  /** Addresses of the VM and CPU structs. */
  readonly vm: number
  readonly cpu: number
  /** Times a branch is taken before its target is compiled: a power of two; 0 or absent: never. */
  readonly jitThreshold?: number
  /** The thread that generates code for hot places; absent: the vCPU's own does. */
  readonly compiler?: { readonly mailbox: SharedArrayBuffer; readonly bell: SharedArrayBuffer }
  /** performance.timeOrigin of the hub's thread in ms, for hosts whose threads count time from different origins. */
  readonly clockOriginMs: number
}

/** Starts the thread that generates code, one for all vCPUs; it ends when it is terminated. */
export type ToCompiler = {
  readonly type: 'compile'
  readonly protocol: number
  readonly memory: WebAssembly.Memory
  /** Address of the VM struct. */
  readonly vm: number
  /** Addresses of the CPU structs, and the mailbox of each (engine/jit/mailbox.ts). */
  readonly cpus: readonly number[]
  readonly mailboxes: readonly SharedArrayBuffer[]
  readonly bell: SharedArrayBuffer
}

export type FromVcpu =
  | { readonly type: 'ready'; readonly vcpu: number }
  /** The vCPU left guest code because of REQ_PAUSE. */
  | { readonly type: 'paused'; readonly vcpu: number }
  | { readonly type: 'stopped'; readonly vcpu: number }
  /** Triple fault: the machine decides between reset and stop. The worker sleeps as if paused. */
  | { readonly type: 'shutdown'; readonly vcpu: number }
  /** The frame pool is empty. */
  | { readonly type: 'out-of-memory'; readonly vcpu: number }
  /** A bug of ours: the VM must stop visibly. */
  | {
      readonly type: 'crashed'
      /** Absent: the thread that generates code. */
      readonly vcpu?: number
      readonly message: string
      readonly stack: string | undefined
    }
  /** The hub cannot wait on shared memory (VM_HUB_KICK): look at the exits. */
  | { readonly type: 'kick' }
