/**
 * What a loader is given and what it returns: guest memory to write to, and the state in which vCPU 0 starts.
 */

/** Guest-physical memory as loaders and table builders see it. Throws RangeError outside RAM. */
export interface BootMemory {
  readonly ramBytes: number
  write(gpa: number, bytes: Uint8Array): void
  /** Whether [gpa, gpa + bytes) is RAM. */
  isRam(gpa: number, bytes: number): boolean
}

export type GprName = 'rax' | 'rcx' | 'rdx' | 'rbx' | 'rsp' | 'rbp' | 'rsi' | 'rdi'

export type BootState =
  /** Power-on reset: real mode at F000:FFF0, firmware ROM decides. */
  | { readonly kind: 'reset' }
  /** 32-bit protected mode, paging off, flat segments, interrupts off. */
  | { readonly kind: 'protected'; readonly rip: number; readonly gpr: Partial<Record<GprName, number>> }
  /** 64-bit mode with identity page tables at cr3. */
  | {
      readonly kind: 'long'
      readonly rip: number
      readonly cr3: number
      readonly gpr: Partial<Record<GprName, number>>
    }

/** A guest image that cannot be started. The message names the image, what is wrong with it and what to do. */
export class BootError extends Error {
  override readonly name = 'BootError'
}

export interface BootImages {
  readonly kernel: Uint8Array
  readonly kernelName: string
  readonly initrd?: Uint8Array | undefined
  readonly cmdline: string
  /** Multiboot modules: the image and its command line. */
  readonly modules?: readonly { readonly bytes: Uint8Array; readonly cmdline: string }[] | undefined
  /** gpa of the RSDP, handed over where the protocol can. */
  readonly rsdp: number
}

/** Formats a byte count for messages: 1.5 MiB. */
export function formatBytes(bytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB']
  let value = bytes
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit] ?? ''}`
}

/** Highest page-aligned gpa below `limit` where `bytes` fit above `floor`; BootError naming `what` when RAM is too small. */
export function placeHigh(
  memory: BootMemory,
  bytes: number,
  floor: number,
  limit: number,
  what: string,
): number {
  const gpa = Math.floor((limit - bytes) / 4096) * 4096
  if (gpa < floor) {
    const needed = Math.ceil((floor + bytes) / 1048576) + 8
    throw new BootError(
      `${what} (${formatBytes(bytes)}) does not fit into ${formatBytes(memory.ramBytes)} of guest memory beside the kernel: ` +
        `give the machine at least ${needed} MiB`,
    )
  }
  return gpa
}

/** Checks that a kernel segment lies in RAM, with an error that says how much memory it wants. */
export function requireRam(memory: BootMemory, gpa: number, bytes: number, what: string): void {
  if (memory.isRam(gpa, bytes)) return
  const end = gpa + bytes
  throw new BootError(
    `${what} wants memory from 0x${gpa.toString(16)} to 0x${end.toString(16)}, outside the machine's ` +
      `${formatBytes(memory.ramBytes)}: give it at least ${Math.ceil(end / 1048576) + 8} MiB`,
  )
}

/** NUL-terminated command line in ISO 8859-1; BootError when too long. */
export function encodeCmdline(cmdline: string, maxBytes: number): Uint8Array {
  const text = new TextEncoder().encode(cmdline)
  if (text.length + 1 > maxBytes) {
    throw new BootError(`the kernel command line has ${text.length} bytes, the kernel takes ${maxBytes - 1}`)
  }
  const bytes = new Uint8Array(text.length + 1)
  bytes.set(text)
  return bytes
}
