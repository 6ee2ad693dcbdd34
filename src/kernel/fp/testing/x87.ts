/** The x87 instructions under test. ST(0), ST(1) and ST(3) hold related operands; memory operands are at [rdx]. */
import { F32, F64, F80, operand, related, type Random } from './operands.ts'
import { CASE, CASE_SIZE } from './oracle.ts'
import { CPU_X87_STORE } from '#abi/layout.ts'
import { CaseState, CPU, MEM, type Instruction, type Machine } from './machine.ts'

type Filler = (r: Random, c: CaseState) => void
type Run = (m: Machine, c: CaseState) => void
const list: Instruction[] = []
const transcendental: Instruction[] = []
const TWO_64 = 1n << 64n

function setSt(c: CaseState, st: number, value: bigint): void {
  c.view.setBigUint64(CASE.st + 16 * st, value % TWO_64, true)
  c.view.setUint16(CASE.st + 16 * st + 8, Number(value / TWO_64), true)
}

function fillStack(r: Random, c: CaseState): void {
  const a = operand(r, F80)
  for (let i = 0; i < 8; i++) setSt(c, i, operand(r, F80))
  setSt(c, 0, a)
  setSt(c, 1, related(r, F80, a))
  setSt(c, 3, related(r, F80, a))
}

/** As fillStack with ST(0) of moderate size, for conversions and argument reductions. */
function fillModerate(r: Random, c: CaseState): void {
  fillStack(r, c)
  if (r.below(4) === 0) return
  const field = BigInt(16383 + r.below(70) - 3)
  setSt(
    c,
    0,
    (BigInt(r.below(2)) << 79n) |
      (field << 64n) |
      (1n << 63n) |
      (((r.u64() >> BigInt(r.below(63))) << BigInt(r.below(40))) & ((1n << 63n) - 1n)),
  )
}

const fillM32: Filler = (r, c) => {
  fillStack(r, c)
  c.view.setUint32(CASE.mem, Number(operand(r, F32)), true)
}
const fillM64: Filler = (r, c) => {
  fillStack(r, c)
  c.view.setBigUint64(CASE.mem, operand(r, F64), true)
}
const fillM80: Filler = (r, c) => {
  fillStack(r, c)
  const value = operand(r, F80)
  c.view.setBigUint64(CASE.mem, value % TWO_64, true)
  c.view.setUint16(CASE.mem + 8, Number(value / TWO_64), true)
}
const fillBcd: Filler = (r, c) => {
  fillStack(r, c)
  for (let i = 0; i < 9; i++) c.view.setUint8(CASE.mem + i, r.below(10) * 16 + r.below(10))
  c.view.setUint8(CASE.mem + 9, r.below(2) * 128)
}
const fillInt: Filler = (r, c) => {
  fillStack(r, c)
  c.view.setBigUint64(
    CASE.mem,
    r.below(4) === 0 ? BigInt.asUintN(64, BigInt(r.below(3) - 1)) : r.u64() >> BigInt(r.below(64)),
    true,
  )
}

/** A waiting instruction: nothing happens when an exception is pending. */
function waiting(name: string, code: readonly number[], fill: Filler, run: Run): Instruction {
  return {
    name,
    code,
    fill,
    run: (m, c) => {
      m.call('x87_wait')
      if (!m.faulted) run(m, c)
    },
  }
}

function add(name: string, code: readonly number[], fill: Filler, run: Run): void {
  list.push(waiting(name, code, fill, run))
}

const u16 = (m: Machine): bigint => BigInt(m.view.getInt16(MEM, true))
const u32 = (m: Machine): bigint => BigInt(m.view.getInt32(MEM, true))
const u64 = (m: Machine): bigint => m.view.getBigInt64(MEM, true)
const f32 = (m: Machine): number => m.view.getUint32(MEM, true)
const f64 = (m: Machine): bigint => m.view.getBigUint64(MEM, true)

// D8 /r, DC /r, DE /r: register forms on ST(3), memory forms
const NAMES = ['fadd', 'fmul', 'fcom', 'fcomp', 'fsub', 'fsubr', 'fdiv', 'fdivr'] as const
for (const [reg, name] of NAMES.entries()) {
  const modrm = 0xc3 + reg * 8
  const memory = 0x02 + reg * 8
  if (name === 'fcom' || name === 'fcomp') {
    const pops = reg - 2
    add(name, [0xd8, modrm], fillStack, (m) => m.call('x87_fcom_st', 3, pops, 0))
    add(`${name}.m32`, [0xd8, memory], fillM32, (m) => m.call('x87_fcom_f32', f32(m), pops))
    add(`${name}.m64`, [0xdc, memory], fillM64, (m) => m.call('x87_fcom_f64', f64(m), pops))
    add(`fi${name.slice(1)}.m32`, [0xda, memory], fillInt, (m) => m.call('x87_fcom_int', u32(m), pops))
    add(`fi${name.slice(1)}.m16`, [0xde, memory], fillInt, (m) => m.call('x87_fcom_int', u16(m), pops))
    continue
  }
  add(name, [0xd8, modrm], fillStack, (m) => m.call('x87_arith_st', reg, 0, 3, 0))
  // DC and DE exchange the two subtractions and the two divisions
  const swapped = reg >= 4 ? reg ^ 1 : reg
  add(`${name}.to`, [0xdc, modrm], fillStack, (m) => m.call('x87_arith_st', swapped, 3, 0, 0))
  add(`${name}.p`, [0xde, modrm], fillStack, (m) => m.call('x87_arith_st', swapped, 3, 0, 1))
  add(`${name}.m32`, [0xd8, memory], fillM32, (m) => m.call('x87_arith_f32', reg, f32(m)))
  add(`${name}.m64`, [0xdc, memory], fillM64, (m) => m.call('x87_arith_f64', reg, f64(m)))
  add(`fi${name.slice(1)}.m32`, [0xda, memory], fillInt, (m) => m.call('x87_arith_int', reg, u32(m)))
  add(`fi${name.slice(1)}.m16`, [0xde, memory], fillInt, (m) => m.call('x87_arith_int', reg, u16(m)))
}
add('fcompp', [0xde, 0xd9], fillStack, (m) => m.call('x87_fcom_st', 1, 2, 0))
add('fucom', [0xdd, 0xe3], fillStack, (m) => m.call('x87_fcom_st', 3, 0, 1))
add('fucomp', [0xdd, 0xeb], fillStack, (m) => m.call('x87_fcom_st', 3, 1, 1))
add('fucompp', [0xda, 0xe9], fillStack, (m) => m.call('x87_fcom_st', 1, 2, 1))
add('ftst', [0xd9, 0xe4], fillStack, (m) => m.call('x87_ftst'))
add('fxam', [0xd9, 0xe5], fillStack, (m) => m.call('x87_fxam'))
for (const [name, code, pop, quiet] of [
  ['fcomi', [0xdb, 0xf3], 0, 0],
  ['fcomip', [0xdf, 0xf3], 1, 0],
  ['fucomi', [0xdb, 0xeb], 0, 1],
  ['fucomip', [0xdf, 0xeb], 1, 1],
] as const) {
  add(name, code, fillStack, (m, c) => {
    const flags = Number(m.call('x87_fcomi', 3, pop, quiet))
    if (flags >= 0) c.eflags = (c.eflags & ~0x8d5) | flags
  })
}

// loads
add('fld.st', [0xd9, 0xc3], fillStack, (m) => m.call('x87_fld_st', 3))
add('fld.m32', [0xd9, 0x02], fillM32, (m) => m.call('x87_fld_f32', f32(m)))
add('fld.m64', [0xdd, 0x02], fillM64, (m) => m.call('x87_fld_f64', f64(m)))
add('fld.m80', [0xdb, 0x2a], fillM80, (m) => m.call('x87_fld_f80', f64(m), m.view.getUint16(MEM + 8, true)))
add('fild.m16', [0xdf, 0x02], fillInt, (m) => m.call('x87_fild', u16(m)))
add('fild.m32', [0xdb, 0x02], fillInt, (m) => m.call('x87_fild', u32(m)))
add('fild.m64', [0xdf, 0x2a], fillInt, (m) => m.call('x87_fild', u64(m)))
add('fbld', [0xdf, 0x22], fillBcd, (m) => m.call('x87_fbld', f64(m), m.view.getUint16(MEM + 8, true)))
for (let n = 0; n < 7; n++)
  add(`fldconst.${n}`, [0xd9, 0xe8 + n], fillStack, (m) => m.call('x87_fld_const', n))

// stores
function addStore(name: string, code: readonly number[], pops: number, store: (m: Machine) => void): void {
  add(name, code, name.startsWith('fi') || name === 'fbstp' ? fillModerate : fillStack, (m) => {
    store(m)
    m.call('x87_store_commit', pops)
  })
}
function wanted(m: Machine, write: () => void): void {
  if (m.view.getUint32(CPU + CPU_X87_STORE, true) & 1) write()
}
for (const [pops, p] of [
  [0, ''],
  [1, 'p'],
] as const) {
  addStore(`fst${p}.m32`, [0xd9, 0x12 + 8 * pops], pops, (m) => {
    const v = m.callU32('x87_store_f32')
    wanted(m, () => m.view.setUint32(MEM, v, true))
  })
  addStore(`fst${p}.m64`, [0xdd, 0x12 + 8 * pops], pops, (m) => {
    const v = m.call('x87_store_f64') as bigint
    wanted(m, () => m.view.setBigInt64(MEM, v, true))
  })
  addStore(`fist${p}.m16`, [0xdf, 0x12 + 8 * pops], pops, (m) => {
    const v = m.call('x87_store_int', 16, 0) as bigint
    wanted(m, () => m.view.setInt16(MEM, Number(v), true))
  })
  addStore(`fist${p}.m32`, [0xdb, 0x12 + 8 * pops], pops, (m) => {
    const v = m.call('x87_store_int', 32, 0) as bigint
    wanted(m, () => m.view.setInt32(MEM, Number(v), true))
  })
  add(`fst${p}.st`, [0xdd, 0xd3 + 8 * pops], fillStack, (m) => m.call('x87_fst_st', 3, pops))
}
addStore('fistp.m64', [0xdf, 0x3a], 1, (m) => {
  const v = m.call('x87_store_int', 64, 0) as bigint
  wanted(m, () => m.view.setBigInt64(MEM, v, true))
})
addStore('fisttp.m16', [0xdf, 0x0a], 1, (m) => {
  const v = m.call('x87_store_int', 16, 1) as bigint
  wanted(m, () => m.view.setInt16(MEM, Number(v), true))
})
addStore('fisttp.m32', [0xdb, 0x0a], 1, (m) => {
  const v = m.call('x87_store_int', 32, 1) as bigint
  wanted(m, () => m.view.setInt32(MEM, Number(v), true))
})
addStore('fisttp.m64', [0xdd, 0x0a], 1, (m) => {
  const v = m.call('x87_store_int', 64, 1) as bigint
  wanted(m, () => m.view.setBigInt64(MEM, v, true))
})
for (const [name, code, helper] of [
  ['fstp.m80', [0xdb, 0x3a], 'x87_store_f80'],
  ['fbstp', [0xdf, 0x32], 'x87_store_bcd'],
] as const) {
  addStore(name, code, 1, (m) => {
    const v = m.call(helper) as bigint
    wanted(m, () => {
      m.view.setBigInt64(MEM, v, true)
      m.view.setUint16(MEM + 8, m.view.getUint16(CPU + CPU_X87_STORE + 2, true), true)
    })
  })
}

// register file
add('fxch', [0xd9, 0xcb], fillStack, (m) => m.call('x87_fxch', 3))
const CONDITIONS: readonly (readonly [number, number])[] = [
  [0xda, 0x01],
  [0xda, 0x40],
  [0xda, 0x41],
  [0xda, 0x04],
  [0xdb, 0x01],
  [0xdb, 0x40],
  [0xdb, 0x41],
  [0xdb, 0x04],
]
for (const [i, [opcode, mask]] of CONDITIONS.entries()) {
  add(`fcmov.${i}`, [opcode, 0xc3 + (i & 3) * 8], fillStack, (m, c) => {
    const any = (c.eflags & mask) !== 0
    m.call('x87_fcmov', 3, (opcode === 0xda) === any ? 1 : 0)
  })
}
add('ffree', [0xdd, 0xc3], fillStack, (m) => m.call('x87_ffree', 3, 0))
add('ffreep', [0xdf, 0xc3], fillStack, (m) => m.call('x87_ffree', 3, 1))
add('fincstp', [0xd9, 0xf7], fillStack, (m) => m.call('x87_fincstp'))
add('fdecstp', [0xd9, 0xf6], fillStack, (m) => m.call('x87_fdecstp'))
add('fnop', [0xd9, 0xd0], fillStack, () => {})
add('fwait', [0x9b], fillStack, (m) => m.call('x87_wait'))
for (const [name, code] of [
  ['fchs', 0xe0],
  ['fabs', 0xe1],
  ['fxtract', 0xf4],
  ['fprem1', 0xf5],
  ['fprem', 0xf8],
  ['fsqrt', 0xfa],
  ['frndint', 0xfc],
  ['fscale', 0xfd],
] as const) {
  add(name, [0xd9, code], name === 'frndint' ? fillModerate : fillStack, (m) => m.call(`x87_${name}`))
}
add(
  'fscale.small',
  [0xd9, 0xfd],
  (r, c) => {
    fillStack(r, c)
    const field = BigInt(16383 + r.below(18))
    setSt(c, 1, (BigInt(r.below(2)) << 79n) | (field << 64n) | (1n << 63n) | (r.u64() >> 1n))
  },
  (m) => m.call('x87_fscale'),
)

// transcendental: arguments in their ranges, some at large
function near(r: Random, low: number, high: number): bigint {
  const field = BigInt(16383 + low + r.below(high - low + 1))
  return (
    (BigInt(r.below(2)) << 79n) |
    (field << 64n) |
    (1n << 63n) |
    (r.u64() & ((1n << 63n) - 1n) & ~((1n << BigInt(r.below(64))) - 1n))
  )
}
const fillAngle: Filler = (r, c) => {
  fillStack(r, c)
  if (r.below(4)) setSt(c, 0, near(r, -20, r.below(3) ? 4 : 62))
}
const fillUnit: Filler = (r, c) => {
  fillStack(r, c)
  if (r.below(4)) setSt(c, 0, near(r, -20, -1))
}
const fillPair: Filler = (r, c) => {
  fillStack(r, c)
  if (r.below(4) === 0) return
  setSt(c, 0, near(r, -8, 8))
  setSt(c, 1, near(r, -8, 8))
}
const fillLog: Filler = (r, c) => {
  fillStack(r, c)
  if (r.below(4) === 0) return
  setSt(c, 0, (r.below(2) ? near(r, -2, 1) : near(r, -16000, 16000)) & ((1n << 79n) - 1n))
  setSt(c, 1, near(r, -8, 8))
}
const fillLogPlusOne: Filler = (r, c) => {
  fillStack(r, c)
  if (r.below(4) === 0) return
  setSt(c, 0, near(r, -20, -3))
  setSt(c, 1, near(r, -8, 8))
}
for (const [name, opcode, fill] of [
  ['f2xm1', 0xf0, fillUnit],
  ['fyl2x', 0xf1, fillLog],
  ['fptan', 0xf2, fillAngle],
  ['fpatan', 0xf3, fillPair],
  ['fyl2xp1', 0xf9, fillLogPlusOne],
  ['fsincos', 0xfb, fillAngle],
  ['fsin', 0xfe, fillAngle],
  ['fcos', 0xff, fillAngle],
] as const) {
  transcendental.push(waiting(name, [0xd9, opcode], fill, (m) => m.call(`x87_${name}`)))
}

// control
add('fldcw', [0xd9, 0x2a], fillInt, (m) => m.call('x87_fldcw', f32(m) & 0xffff))
list.push(
  { name: 'fninit', code: [0xdb, 0xe3], fill: fillStack, run: (m) => m.call('x87_fninit') },
  { name: 'fnclex', code: [0xdb, 0xe2], fill: fillStack, run: (m) => m.call('x87_fnclex') },
  {
    name: 'fnstcw',
    code: [0xd9, 0x3a],
    fill: fillStack,
    run: (m) => m.view.setUint16(MEM, m.callU32('x87_fnstcw'), true),
  },
  {
    name: 'fnstsw',
    code: [0xdd, 0x3a],
    fill: fillStack,
    run: (m) => m.view.setUint16(MEM, m.callU32('x87_fnstsw'), true),
  },
)

list.push(
  {
    name: 'fnstenv',
    code: [0xd9, 0x32],
    fill: fillStack,
    ignore: [CASE.mem + 12, 16],
    run: (m) => m.call('x87_fnstenv', BigInt(MEM), 0, 4),
  },
  {
    name: 'fnstenv.16',
    code: [0x66, 0xd9, 0x32],
    fill: fillStack,
    ignore: [CASE.mem + 6, 8],
    run: (m) => m.call('x87_fnstenv', BigInt(MEM), 0, 2),
  },
)
/** An environment with random tags and flags; the control word masks everything half of the time. */
function fillEnvironment(step: number): Filler {
  return (r, c) => {
    fillStack(r, c)
    c.view.setUint16(CASE.mem, (r.u32() & 0x1f40) | (r.below(2) ? 0x3f : r.below(64)), true)
    c.view.setUint16(CASE.mem + step, r.u32(), true)
    c.view.setUint16(CASE.mem + 2 * step, r.u32(), true)
  }
}
for (const [name, code, size] of [
  ['fldenv', [0xd9, 0x22], 4],
  ['fldenv.16', [0x66, 0xd9, 0x22], 2],
] as const) {
  list.push({
    name,
    code,
    fill: fillEnvironment(size),
    run: (m) => {
      m.call('x87_wait')
      if (!m.faulted) m.call('x87_fldenv', BigInt(MEM), 0, size)
    },
  })
}

// MMX register operands of SSE conversions: mm0 or mm1, which lie on the stack wherever TOP says
const fillVectors: Filler = (r, c) => {
  fillStack(r, c)
  for (const at of [0, 4, 8, 12]) c.view.setUint32(CASE.xmm + 16 + at, Number(operand(r, F32)), true)
  if (r.below(2)) for (const at of [0, 8]) c.view.setBigUint64(CASE.xmm + 16 + at, operand(r, F64), true)
  c.view.setUint32(
    CASE.mxcsr,
    (0x1f80 & ~(r.below(4) === 0 ? r.below(64) << 7 : 0)) | (r.below(4) << 13),
    true,
  )
}
for (const [name, code, helper, truncate] of [
  ['cvtps2pi', [0x0f, 0x2d, 0xc1], 'sse_cvtps2pi', 0],
  ['cvttps2pi', [0x0f, 0x2c, 0xc1], 'sse_cvtps2pi', 1],
  ['cvtpd2pi', [0x66, 0x0f, 0x2d, 0xc1], 'sse_cvtpd2pi', 0],
  ['cvttpd2pi', [0x66, 0x0f, 0x2c, 0xc1], 'sse_cvtpd2pi', 1],
] as const) {
  list.push({
    name,
    code,
    fill: fillVectors,
    run: (m) => {
      m.call('x87_wait')
      if (m.faulted) return
      m.call('mmx_enter')
      m.call(helper, m.mm(0), m.xmm(1), truncate)
      if (!m.faulted) m.view.setUint16(m.mm(0) + 8, 0xffff, true)
    },
  })
}
for (const [name, code, helper] of [
  ['cvtpi2ps', [0x0f, 0x2a, 0xc1], 'sse_cvtpi2ps'],
  ['cvtpi2pd', [0x66, 0x0f, 0x2a, 0xc1], 'sse_cvtdq2pd'],
] as const) {
  list.push({
    name,
    code,
    fill: fillVectors,
    run: (m) => {
      m.call('x87_wait')
      if (m.faulted) return
      m.call('mmx_enter')
      m.call(helper, m.xmm(0), m.mm(1))
    },
  })
}
list.push({
  name: 'emms',
  code: [0x0f, 0x77],
  fill: fillVectors,
  run: (m) => {
    m.call('x87_wait')
    if (!m.faulted) m.call('mmx_emms')
  },
})

export const X87_INSTRUCTIONS: readonly Instruction[] = list
/** Results agree with the host to one unit in the last place. */
export const TRANSCENDENTAL_INSTRUCTIONS: readonly Instruction[] = transcendental

const X87_FLAGS = 0x7f

/** Control and status words: mostly masked; one case in twenty has an exception pending. */
function fillControl(r: Random, c: CaseState): void {
  const masks = r.below(4) === 0 ? r.below(64) : 63
  const precision = r.pick([3, 3, 3, 0, 2])
  const cw = 0x40 | masks | (precision << 8) | (r.below(4) << 10)
  let sw = (r.u32() & 0x4700) | (r.below(8) << 11)
  if (r.below(2)) sw |= r.u32() & X87_FLAGS & (masks | 0x40)
  if (r.below(20) === 0) sw |= r.below(64)
  if (sw & ~masks & 0x3f) sw |= 0x8080
  c.view.setUint16(CASE.fcw, cw, true)
  c.view.setUint16(CASE.fsw, sw, true)
  // six of the registers in use, so that pushes have room; sometimes a stack fault
  const top = (sw >> 11) & 7
  const used = r.below(8) === 0 ? r.below(256) : 0x3f
  c.view.setUint8(CASE.ftw, ((used << top) | (used >> (8 - top))) & 0xff)
}

export function fillX87Cases(r: Random, instruction: Instruction, cases: Uint8Array): void {
  for (let at = 0; at < cases.length; at += CASE_SIZE) {
    const c = new CaseState(cases.subarray(at, at + CASE_SIZE))
    c.bytes.set(instruction.code)
    c.bytes[15] = instruction.code.length
    c.view.setUint32(CASE.mxcsr, 0x1f80, true)
    c.eflags = r.u32() & 0x8d5
    for (let i = 0; i < 8; i++) c.view.setUint32(CASE.mem + 4 * i, r.u32(), true)
    instruction.fill(r, c)
    fillControl(r, c)
  }
}
