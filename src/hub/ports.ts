/**
 * What devices and the hub need from outside: guest memory, the interrupt controllers, time, the log, events.
 * Consumer-side interfaces: src/memory, src/machine and src/host implement them, src/testkit fakes them.
 * Guest-physical addresses are JavaScript numbers (exact below 2^53); whoever reads a u64 from the guest
 * checks that before converting.
 */

/**
 * Guest RAM by guest-physical address, as a bus master sees it.
 * Every method except `contains` requires a range for which `contains` holds, and throws RangeError otherwise:
 * the device checks guest-supplied ranges first and treats a refusal as the guest's fault.
 * Writes mark pages dirty, unshare them and drop decoded code, exactly as a write by a vCPU would.
 */
export interface GuestMemory {
  /** Whether every byte of [gpa, gpa + lengthBytes) is RAM. Length 0 is contained anywhere. */
  contains(gpa: number, lengthBytes: number): boolean
  /** A copy, in an unshared buffer. */
  read(gpa: number, lengthBytes: number): Uint8Array<ArrayBuffer>
  /** Fills target from guest memory, without an allocation. */
  readInto(gpa: number, target: Uint8Array): void
  write(gpa: number, bytes: Uint8Array): void
  /**
   * The bytes in place when the range lies inside one frame, else undefined. Valid until the next return to the
   * event loop. With access 'write' the frame is made private, dirty and free of decoded code beforehand.
   */
  view(gpa: number, lengthBytes: number, access: 'read' | 'write'): Uint8Array | undefined
  /** Single accesses; naturally aligned ones are atomic and sequentially consistent (ring indices, flags). */
  loadU8(gpa: number): number
  loadU16(gpa: number): number
  loadU32(gpa: number): number
  loadU64(gpa: number): bigint
  storeU8(gpa: number, value: number): void
  storeU16(gpa: number, value: number): void
  storeU32(gpa: number, value: number): void
  storeU64(gpa: number, value: bigint): void
}

/** The hub's door to the interrupt controllers: a hub-side kernel.wasm instance, or a fake. */
export interface Irqchip {
  /** Sets the level of a global system interrupt: ISA IRQ n is GSI n, PIC and I/O APIC both see it. */
  setGsi(gsi: number, level: 0 | 1): void
  /** Delivers a message-signalled interrupt; address below 2^53. */
  sendMsi(address: number, data: number): void
}

/** Host time. `nowNs` has the same epoch as kernel.wasm's host.now(). */
export interface HostClock {
  /** Monotonic nanoseconds. */
  nowNs(): number
  /** Milliseconds since the Unix epoch, UTC. */
  wallMs(): number
  /** One-shot; the callback may come late, never early by more than a millisecond. Returns what cancels it. */
  setTimer(delayMs: number, callback: () => void): () => void
}

/** Guest time, given to devices: stands still while the VM is paused. */
export interface Clock {
  /** Nanoseconds since guest time 0. */
  nowNs(): number
  /** Milliseconds since the Unix epoch as the guest's RTC should show it. */
  wallMs(): number
  /** A one-shot timer, re-armed with arm(); not running at first. */
  timer(callback: () => void): Timer
}

export interface Timer {
  /** Fires once at guest time deadlineNs (at once if past). Replaces an earlier deadline. */
  arm(deadlineNs: number): void
  cancel(): void
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

/** Where devices and the hub report. Guest-caused reports are made through `once`. */
export interface Log {
  write(level: LogLevel, text: string): void
}

/** What a device or the CPU asks of the machine. Listeners run synchronously, before the asking vCPU continues. */
export type MachineEvent =
  | { readonly type: 'poweroff'; readonly by: string }
  | { readonly type: 'reset'; readonly by: string }
  /** isa-debug-exit: the status is already (value << 1) | 1. */
  | { readonly type: 'exit'; readonly by: string; readonly status: number }
  /** pvpanic: the guest's kernel panicked (1), or loaded its crash kernel (2). */
  | { readonly type: 'guest-panicked'; readonly by: string; readonly bits: number }
  /** Triple fault of a vCPU. */
  | { readonly type: 'shutdown'; readonly by: string; readonly vcpu: number }
  | { readonly type: 'suspend'; readonly by: string; readonly state: number }
  /** A vCPU stopped at a debug exit, or made a hypercall that nobody handles. */
  | { readonly type: 'debug'; readonly by: string; readonly vcpu: number }
  /** A device can no longer work because its guest driver broke the rules. */
  | { readonly type: 'device-failed'; readonly by: string; readonly reason: string }

export type EmitEvent = (event: MachineEvent) => void

/** Hands out zeroed blocks of the shared memory that live as long as the VM (shadow images). 16-byte aligned. */
export interface SharedArena {
  allocate(lengthBytes: number): number
}
