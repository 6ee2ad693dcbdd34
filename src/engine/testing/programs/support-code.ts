/**
 * Code that every program brings along: a trace routine, which appends all registers to TRACE, and fault handlers, which
 * append the frame, put right what they can (the lazy page, single step) and else go on at CELL_FIXUP.
 */
import { Assembler, absolute, immediate, memory, register, type Bits, type Label } from './assembler.ts'
import { entryOf } from './machine.ts'
import * as map from './map.ts'

const [RAX, RCX, RSP] = [0, 1, 4]
const WITH_ERROR = new Set([8, 10, 11, 12, 13, 14, 17])
/** Vectors whose RIP is behind the instruction: nothing to put right. */
const TRAPS = [3, 4]
const VECTORS = 32

export interface Support {
  readonly bytes: Uint8Array
  readonly trace: number
  /** Jumped to at the end: stops the VM with the registers as they are. */
  readonly finish: number
  readonly handlers: readonly number[]
}

const at = (base: number, displacement: number): ReturnType<typeof memory> => memory({ base, displacement })

/** rax = the next record. */
function openRecord(a: Assembler): void {
  a.wide('mov_rv_rmv', [register(RAX), absolute(map.CELL_TRACE)])
}

/** Moves on from the record at rax; rcx and flags are lost. */
function closeRecord(a: Assembler): void {
  a.wide('lea_rv_m', [register(RCX), at(RAX, map.RECORD_BYTES)])
  a.wide('and_rmv_immz', [register(RCX), immediate(map.TRACE_BYTES - 1)], 32)
  a.wide('or_rmv_immz', [register(RCX), immediate(map.TRACE)], 32)
  a.wide('mov_rmv_rv', [absolute(map.CELL_TRACE), register(RCX)])
}

function traceRoutine(a: Assembler): Label {
  const start = a.here()
  const registers = a.bits === 64 ? 16 : 8
  a.op('pushf', [], { width: a.bits })
  a.wide('push_ov', [register(RAX)])
  openRecord(a)
  for (let reg = 1; reg < registers; reg++) a.wide('mov_rmv_rv', [at(RAX, reg * a.word), register(reg)])
  for (const [place, slot] of [0, 16, 17].entries()) {
    a.wide('mov_rv_rmv', [register(RCX), at(RSP, place * a.word)])
    a.wide('mov_rmv_rv', [at(RAX, slot * a.word), register(RCX)])
  }
  for (let reg = 0; reg < registers; reg++)
    a.op('movups_xmm_m128_xmm', [at(RAX, 0x100 + reg * 16), register(reg)])
  closeRecord(a)
  a.wide('mov_rv_rmv', [register(RCX), at(RAX, a.word)])
  a.wide('pop_ov', [register(RAX)])
  a.op('popf', [], { width: a.bits })
  a.op('ret', [], { width: a.bits })
  return start
}

/** Stack: rcx, rax, vector, error code, RIP, CS, flags. */
function faultHandler(a: Assembler, finish: Label): Label {
  const start = a.here()
  const [done, lazy, step] = [a.label(), a.label(), a.label()]
  const frame = (i: number): ReturnType<typeof memory> => at(RSP, i * a.word)
  const lazyEntry = entryOf(a.bits, map.LAZY)
  a.wide('push_ov', [register(RAX)])
  a.wide('push_ov', [register(RCX)])
  a.op('dec_rmv', [absolute(map.CELL_FAULTS)], { width: 32 })
  a.branch('je_relz', finish)
  openRecord(a)
  for (let i = 0; i < 7; i++) {
    a.wide('mov_rv_rmv', [register(RCX), frame(i)])
    a.wide('mov_rmv_rv', [at(RAX, i * a.word), register(RCX)])
  }
  a.op(a.bits === 64 ? 'mov_r64_cr' : 'mov_r32_cr', [register(RCX), register(2)])
  a.wide('mov_rmv_rv', [at(RAX, 7 * a.word), register(RCX)])
  closeRecord(a)
  a.wide('cmp_rmv_simm8', [frame(2), immediate(1)])
  a.branch('je_relz', step)
  for (const vector of TRAPS) {
    a.wide('cmp_rmv_simm8', [frame(2), immediate(vector)])
    a.branch('je_relz', done)
  }
  a.wide('mov_rv_rmv', [register(RCX), at(RAX, 7 * a.word)])
  a.wide('and_rmv_immz', [register(RCX), immediate(-4096)])
  a.wide('cmp_rmv_immz', [register(RCX), immediate(map.LAZY)])
  a.branch('jne_relz', lazy)
  a.wide('cmp_rmv_simm8', [frame(2), immediate(14)])
  a.branch('jne_relz', lazy)
  a.wide('test_rmv_immz', [absolute(lazyEntry), immediate(1)], 32)
  a.branch('jne_relz', lazy)
  a.wide('or_rmv_simm8', [absolute(lazyEntry), immediate(1)], 32)
  a.branch('jmp_relz', done)
  a.bind(lazy)
  a.wide('mov_rv_rmv', [register(RCX), absolute(map.CELL_FIXUP)])
  a.wide('mov_rmv_rv', [frame(4), register(RCX)])
  a.branch('jmp_relz', done)
  a.bind(step)
  a.wide('and_rmv_immz', [frame(6), immediate(~0x100)], 32)
  a.bind(done)
  a.wide('pop_ov', [register(RCX)])
  a.wide('pop_ov', [register(RAX)])
  a.wide('lea_rv_m', [register(RSP), frame(2)])
  a.op('iret', [], { width: a.bits })
  return start
}

export function supportCode(bits: Bits): Support {
  const a = new Assembler(bits, map.SUPPORT)
  const trace = traceRoutine(a)
  const finish = a.here()
  a.op('lidt_m', [absolute(map.CELL_IDT)], { width: bits })
  a.op('ud2', [])
  const common = faultHandler(a, finish)
  const stubs = Array.from({ length: VECTORS }, (_, vector) => {
    const stub = a.here()
    if (!WITH_ERROR.has(vector)) a.op('push_simm8', [immediate(0)], { width: bits })
    a.op('push_simm8', [immediate(vector)], { width: bits })
    a.branch('jmp_relz', common)
    return stub
  })
  const address = (label: Label): number => a.resolve(label)
  return { bytes: a.bytes(), trace: address(trace), finish: address(finish), handlers: stubs.map(address) }
}
