/**
 * What a machine does, as lines of text: `--trace` of the command line. The kernel writes entries to its log ring
 * (abi/exits.ts LOG_*), waiting for room so that a trace has no gaps; this turns them into text.
 *
 *   cpu0 ffffffff81000030  mov rsp, [rip+0x14022f1]
 *   cpu0 exit pio-write 0x3f8 = 0x41 rip=ffffffff8150c2b4
 *   cpu0 int #PF vector 14 error 0x2 rip=…           cpu0 int external vector 236 rip=…
 *   cpu0 msr read 0x1b = 0xfee00900 rip=…
 */
import * as exits from '#abi/exits.ts'
import { CPU_REQ, CPU_TRACE, REQ_DEBUG, TRACE_EXIT, TRACE_INSN, TRACE_INT, TRACE_MSR } from '#abi/layout.ts'
import type { KernelLogEntry } from '#hub/report.ts'
import type { TraceOptions } from './config.ts'
import { LONGEST_INSTRUCTION, disassemble } from './disassemble.ts'
import type { GuestBytes } from './disassemble.ts'

const EXIT_NAMES: Readonly<Record<number, string>> = {
  [exits.EXIT_KIND_PIO_READ]: 'pio-read',
  [exits.EXIT_KIND_PIO_WRITE]: 'pio-write',
  [exits.EXIT_KIND_MMIO_READ]: 'mmio-read',
  [exits.EXIT_KIND_MMIO_WRITE]: 'mmio-write',
  [exits.EXIT_KIND_HYPERCALL]: 'hypercall',
  [exits.EXIT_KIND_SHUTDOWN]: 'shutdown',
  [exits.EXIT_KIND_RESET]: 'reset',
  [exits.EXIT_KIND_DEBUG]: 'debug',
  [exits.EXIT_KIND_POSTED]: 'posted-write',
}

/** SDM Vol. 3, "Protected-Mode Exceptions and Interrupts". */
const VECTOR_NAMES: readonly (string | undefined)[] = [
  ...['#DE', '#DB', 'NMI', '#BP', '#OF', '#BR', '#UD', '#NM', '#DF', undefined, '#TS', '#NP', '#SS', '#GP'],
  ...['#PF', undefined, '#MF', '#AC', '#MC', '#XM', '#VE', '#CP'],
]

/** Origins as kernel/interrupt.ts numbers them: EVENT_*. */
const ORIGINS = ['external', 'NMI', 'exception', 'software', 'INT1'] as const
const ORIGIN_EXTERNAL = 0
const ORIGIN_SOFTWARE = 3

const hex = (value: bigint | number): string => `0x${value.toString(16)}`
const LOW_32 = 0xffff_ffffn
const ADDRESS_56 = (1n << 56n) - 1n

/** Switches traces of all vCPUs; takes effect within a slice of instructions. */
export function setTrace(buffer: ArrayBufferLike, cpus: readonly number[], options: TraceOptions): void {
  const bits =
    (options.instructions === true ? TRACE_INSN : 0) |
    (options.interrupts === true ? TRACE_INT : 0) |
    (options.exits === true ? TRACE_EXIT : 0) |
    (options.msrs === true ? TRACE_MSR : 0)
  const words = new Int32Array(buffer)
  for (const cpu of cpus) {
    Atomics.store(words, (cpu + CPU_TRACE) >> 2, bits)
    // The vCPU decides anew whether it has to single-step.
    Atomics.or(words, (cpu + CPU_REQ) >> 2, REQ_DEBUG)
    Atomics.notify(words, (cpu + CPU_REQ) >> 2)
  }
}

/** One entry as a line, or undefined if it is no trace. */
export function formatTrace(entry: KernelLogEntry, readGuest: GuestBytes): string | undefined {
  const rip = entry.rip.toString(16).padStart(16, '0')
  switch (entry.kind) {
    case exits.LOG_INSN:
      return `cpu${entry.cpu} ${rip}  ${instructionAt(entry, readGuest)}`
    case exits.LOG_EXIT: {
      const kind = Number(entry.a >> 56n)
      const name = EXIT_NAMES[kind] ?? `kind ${kind}`
      return `cpu${entry.cpu} exit ${name} ${hex(entry.a & ADDRESS_56)} = ${hex(entry.b)} rip=${rip}`
    }
    case exits.LOG_INTERRUPT:
      return `cpu${entry.cpu} int ${describeVector(entry)} rip=${rip}`
    case exits.LOG_MSR: {
      const verb = entry.a >> 32n === 0n ? 'read' : 'write'
      return `cpu${entry.cpu} msr ${verb} ${hex(entry.a & LOW_32)} = ${hex(entry.b)} rip=${rip}`
    }
    default:
      return undefined
  }
}

function instructionAt({ a, rip }: KernelLogEntry, readGuest: GuestBytes): string {
  const gpa = Number(a >> 8n)
  // The last bytes of RAM may be fewer than the longest instruction has.
  let bytes: Uint8Array | undefined
  for (let length = LONGEST_INSTRUCTION; bytes === undefined && length > 0; length--)
    bytes = readGuest(gpa, length)
  if (bytes === undefined) return `(gpa ${hex(gpa)} is not RAM)`
  return disassemble(bytes, Number(a & 0xffn), rip, 1)[0]?.text ?? '(nothing)'
}

function describeVector({ a, b }: KernelLogEntry): string {
  const vector = Number(a & LOW_32)
  const origin = Number(b >> 32n)
  const error = b & LOW_32
  const name =
    origin === ORIGIN_EXTERNAL ? 'external' : (VECTOR_NAMES[vector] ?? ORIGINS[origin] ?? `origin ${origin}`)
  const code = origin === ORIGIN_EXTERNAL || error === 0n ? '' : ` error ${hex(error)}`
  return `${name}${origin === ORIGIN_SOFTWARE ? ' by INT' : ''} vector ${vector}${code}`
}
