/** Registers, control state and the last blocks of a vCPU as text, for a triple fault or a bug of ours. */
import * as abi from '#abi/layout.ts'
import { LONGEST_INSTRUCTION, disassemble } from './disassemble.ts'
import type { GuestBytes } from './disassemble.ts'
import { linearToGpa } from './page-walk.ts'
import type { PagingRegisters } from './page-walk.ts'

const GPR_NAMES = [
  'rax',
  'rcx',
  'rdx',
  'rbx',
  'rsp',
  'rbp',
  'rsi',
  'rdi',
  'r8',
  'r9',
  'r10',
  'r11',
  'r12',
  'r13',
  'r14',
  'r15',
]
const SEG_NAMES = ['es', 'cs', 'ss', 'ds', 'fs', 'gs', 'ldtr', 'tr', 'gdtr', 'idtr']
const LAST_BLOCKS = 8
const TRACE_ENTRY_BYTES = 16
const TRACE_ENTRIES_AT = 16

const hex = (value: bigint | number, digits: number): string => value.toString(16).padStart(digits, '0')

const INSTRUCTIONS_PER_BLOCK = 4

export function describeCrash(
  buffer: ArrayBufferLike,
  cpus: readonly number[],
  vcpu: number,
  readGuest?: GuestBytes,
): string {
  const cpu = cpus[vcpu]
  if (cpu === undefined) return ''
  const view = new DataView(buffer)
  const u64 = (offset: number): bigint => view.getBigUint64(cpu + offset, true)
  const u32 = (offset: number): number => view.getUint32(cpu + offset, true)
  const lines: string[] = [
    `vCPU ${vcpu}: rip=${hex(u64(abi.CPU_RIP), 16)} cpl=${u32(abi.CPU_CPL)} mode=${hex(u32(abi.CPU_MODE), 2)}`,
  ]
  for (let i = 0; i < 16; i += 4) {
    lines.push(
      GPR_NAMES.slice(i, i + 4)
        .map((name, k) => `${name.padEnd(3)}=${hex(u64(abi.CPU_GPR + (i + k) * 8), 16)}`)
        .join(' '),
    )
  }
  SEG_NAMES.forEach((name, i) => {
    const at = abi.CPU_SEG + i * abi.CPU_SEG_STRIDE
    const selector = view.getUint16(cpu + at + abi.SEG_SELECTOR, true)
    lines.push(
      `${name.padEnd(4)}=${hex(selector, 4)} base=${hex(u64(at + abi.SEG_BASE), 16)} limit=${hex(u32(at + abi.SEG_LIMIT), 8)} attr=${hex(u32(at + abi.SEG_ATTR), 5)}`,
    )
  })
  lines.push(
    `cr0=${hex(u64(abi.CPU_CR0), 8)} cr2=${hex(u64(abi.CPU_CR2), 16)} cr3=${hex(u64(abi.CPU_CR3), 16)} cr4=${hex(u64(abi.CPU_CR4), 8)} efer=${hex(u64(abi.CPU_EFER), 4)}`,
    `eflags=${hex(u32(abi.CPU_EFLAGS), 8)} (without arithmetic flags) fault=${hex(u32(abi.CPU_FAULT), 8)} error=${hex(u32(abi.CPU_FAULT_ERROR), 8)}`,
    ...lastBlocks(view, cpu, readGuest),
    ...(readGuest === undefined ? [] : memoryDump(view, cpu, readGuest)),
  )
  return lines.join('\n')
}

const DUMP_LINES = 4
const DUMP_LINE_BYTES = 16

/** Bytes at the code that was to run and at the top of the stack, as far as they are mapped. */
function memoryDump(view: DataView, cpu: number, readGuest: GuestBytes): string[] {
  const u64 = (offset: number): bigint => view.getBigUint64(cpu + offset, true)
  const registers = {
    cr0: u64(abi.CPU_CR0),
    cr3: u64(abi.CPU_CR3),
    cr4: u64(abi.CPU_CR4),
    efer: u64(abi.CPU_EFER),
  }
  const base = (segment: number): bigint => u64(abi.CPU_SEG + segment * abi.CPU_SEG_STRIDE + abi.SEG_BASE)
  const places = [
    { name: 'code at rip', linear: base(abi.SEG_CS) + u64(abi.CPU_RIP) },
    { name: 'stack at rsp', linear: base(abi.SEG_SS) + u64(abi.CPU_RSP) },
  ]
  return places.flatMap(({ name, linear }) => {
    const lines = [`${name}:`]
    for (let i = 0; i < DUMP_LINES; i++) {
      const at = BigInt.asUintN(64, linear + BigInt(i * DUMP_LINE_BYTES))
      lines.push(`  ${hex(at, 16)}  ${dumpLine(readGuest, registers, at)}`)
    }
    return lines
  })
}

function dumpLine(readGuest: GuestBytes, registers: PagingRegisters, linear: bigint): string {
  const gpa = linearToGpa(readGuest, registers, linear)
  const left = 4096 - Number(linear & 0xfffn)
  const bytes = gpa === undefined ? undefined : readGuest(Number(gpa), Math.min(DUMP_LINE_BYTES, left))
  if (bytes === undefined) return '(not mapped)'
  return [...bytes].map((byte) => hex(byte, 2)).join(' ')
}

/** Ring entry: u64 RIP, u64 gpa << 8 | mode (kernel/run.ts). */
function lastBlocks(view: DataView, cpu: number, readGuest: GuestBytes | undefined): string[] {
  const ring = cpu + abi.CPU_TRACE_RING
  const next = view.getUint32(ring, true) % abi.CPU_TRACE_RING_COUNT
  const lines: string[] = []
  for (let back = LAST_BLOCKS; back > 0; back--) {
    const index = (next + abi.CPU_TRACE_RING_COUNT - back) % abi.CPU_TRACE_RING_COUNT
    const at = ring + TRACE_ENTRIES_AT + index * TRACE_ENTRY_BYTES
    const rip = view.getBigUint64(at, true)
    const where = view.getBigUint64(at + 8, true)
    if (where === 0n) continue
    const mode = Number(where & 0xffn)
    const bytes = readGuest?.(Number(where >> 8n), INSTRUCTIONS_PER_BLOCK * LONGEST_INSTRUCTION)
    if (bytes === undefined) lines.push(`  ${hex(rip, 16)}`)
    else
      for (const line of disassemble(bytes, mode, rip, INSTRUCTIONS_PER_BLOCK))
        lines.push(`  ${hex(line.rip, 16)}  ${line.text}`)
  }
  return lines.length === 0 ? [] : ['last blocks, oldest first:', ...lines]
}
