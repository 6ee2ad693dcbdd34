/**
 * The SSE instructions under test: encoding with xmm0 as destination and xmm1 as source (rax for integer registers),
 * the operand formats to fill them with, and the kernel function that means the same.
 */
import { F32, F64, operand, related, type Random } from './operands.ts'
import { CASE, CASE_SIZE } from './oracle.ts'
import { CaseState, type Instruction, type Machine } from './machine.ts'

type Filler = (r: Random, c: CaseState) => void

function pack32(r: Random, c: CaseState): void {
  for (let lane = 0; lane < 4; lane++) {
    const a = operand(r, F32)
    const at = lane * 4
    c.view.setUint32(CASE.xmm + at, Number(a), true)
    c.view.setUint32(CASE.xmm + 16 + at, Number(related(r, F32, a)), true)
    c.view.setUint32(CASE.xmm + 32 + at, Number(related(r, F32, a)), true)
  }
}

function pack64(r: Random, c: CaseState): void {
  for (let lane = 0; lane < 2; lane++) {
    const a = operand(r, F64)
    const at = lane * 8
    c.view.setBigUint64(CASE.xmm + at, a, true)
    c.view.setBigUint64(CASE.xmm + 16 + at, related(r, F64, a), true)
    c.view.setBigUint64(CASE.xmm + 32 + at, related(r, F64, a), true)
  }
}

function integers(r: Random, c: CaseState): void {
  for (let at = 0; at < 32; at += 4) c.view.setInt32(CASE.xmm + at, integer(r), true)
  c.rax = r.below(2) ? BigInt.asUintN(64, BigInt(integer(r))) : r.u64() >> BigInt(r.below(64))
}

function integer(r: Random): number {
  return r.pick([0, 1, -1, 0x7fff_ffff, -0x8000_0000, 0x0100_0001, r.u32() | 0, (r.u32() | 0) >> r.below(31)])
}

const both = (m: Machine): [number, number, number] => [m.xmm(0), m.xmm(0), m.xmm(1)]
const PREFIX: Readonly<Record<string, readonly number[]>> = { ps: [], pd: [0x66], ss: [0xf3], sd: [0xf2] }
const filler = (form: string): Filler =>
  (form.startsWith('s') ? form === 'ss' : form === 'ps') ? pack32 : pack64
const list: Instruction[] = []

function add(
  name: string,
  code: readonly number[],
  fill: Filler,
  run: (m: Machine, c: CaseState) => void,
): void {
  list.push({ name, code, fill, run })
}

/** The last column: the number of the operation in sse_lane_*. */
for (const [name, opcode, lane] of [
  ['add', 0x58, 0],
  ['mul', 0x59, 2],
  ['sub', 0x5c, 1],
  ['min', 0x5d, 4],
  ['div', 0x5e, 3],
  ['max', 0x5f, 5],
] as const) {
  for (const form of ['ps', 'pd', 'ss', 'sd']) {
    add(`${name}${form}`, [...(PREFIX[form] ?? []), 0x0f, opcode, 0xc1], filler(form), (m) =>
      form.startsWith('s')
        ? m.call(`lane_${form}`, lane, ...both(m))
        : m.call(`sse_${name}_${form}`, ...both(m)),
    )
  }
}
const SQRT_LANE = 6
for (const form of ['ps', 'pd', 'ss', 'sd']) {
  const prefix = PREFIX[form] ?? []
  add(`sqrt${form}`, [...prefix, 0x0f, 0x51, 0xc1], filler(form), (m) =>
    form.startsWith('s')
      ? m.call(`lane_${form}`, SQRT_LANE, ...both(m))
      : m.call(`sse_sqrt_${form}`, m.xmm(0), m.xmm(1)),
  )
  for (let predicate = 0; predicate < 8; predicate++) {
    add(`cmp${form}.${predicate}`, [...prefix, 0x0f, 0xc2, 0xc1, predicate], filler(form), (m) =>
      m.call(`sse_cmp_${form}`, ...both(m), predicate),
    )
  }
  for (let imm = 0; imm < 16; imm += form.startsWith('p') ? 5 : 1) {
    const opcode = { ps: 0x08, pd: 0x09, ss: 0x0a, sd: 0x0b }[form] as number
    add(`round${form}.${imm}`, [0x66, 0x0f, 0x3a, opcode, 0xc1, imm], filler(form), (m) =>
      m.call(`sse_round_${form}`, m.xmm(0), m.xmm(1), imm),
    )
  }
  // VFMADD213 xmm0, xmm1, xmm2 = xmm1 * xmm0 + xmm2 and its relatives
  const wide = form.endsWith('d') ? 0x80 : 0
  const scalar = form.startsWith('s') ? 1 : 0
  for (const [variant, opcode, negate] of [
    ['fmadd', 0xa8, 0],
    ['fmsub', 0xaa, 6],
    ['fnmadd', 0xac, 1],
    ['fnmsub', 0xae, 7],
  ] as const) {
    add(`v${variant}213${form}`, [0xc4, 0xe2, wide | 0x71, opcode + scalar, 0xc2], filler(form), (m) =>
      m.call(`sse_fma_${form}`, m.xmm(0), m.xmm(1), m.xmm(0), m.xmm(2), negate),
    )
  }
}
add('vfmaddsub213ps', [0xc4, 0xe2, 0x71, 0xa6, 0xc2], pack32, (m) =>
  m.call('sse_fma_ps', m.xmm(0), m.xmm(1), m.xmm(0), m.xmm(2), 2),
)
add('vfmsubadd213pd', [0xc4, 0xe2, 0xf1, 0xa7, 0xc2], pack64, (m) =>
  m.call('sse_fma_pd', m.xmm(0), m.xmm(1), m.xmm(0), m.xmm(2), 4),
)
add('addsubps', [0xf2, 0x0f, 0xd0, 0xc1], pack32, (m) => m.call('sse_addsub_ps', ...both(m)))
add('addsubpd', [0x66, 0x0f, 0xd0, 0xc1], pack64, (m) => m.call('sse_addsub_pd', ...both(m)))
add('haddps', [0xf2, 0x0f, 0x7c, 0xc1], pack32, (m) => m.call('sse_hadd_ps', ...both(m)))
add('haddpd', [0x66, 0x0f, 0x7c, 0xc1], pack64, (m) => m.call('sse_hadd_pd', ...both(m)))
add('hsubps', [0xf2, 0x0f, 0x7d, 0xc1], pack32, (m) => m.call('sse_hsub_ps', ...both(m)))
add('hsubpd', [0x66, 0x0f, 0x7d, 0xc1], pack64, (m) => m.call('sse_hsub_pd', ...both(m)))
for (const imm of [0xff, 0xf1, 0x31, 0x7f, 0x0f, 0xa5]) {
  add(`dpps.${imm}`, [0x66, 0x0f, 0x3a, 0x40, 0xc1, imm], pack32, (m) => m.call('sse_dpps', ...both(m), imm))
  add(`dppd.${imm}`, [0x66, 0x0f, 0x3a, 0x41, 0xc1, imm], pack64, (m) => m.call('sse_dppd', ...both(m), imm))
}
for (const [name, opcode] of [
  ['ucomi', 0x2e],
  ['comi', 0x2f],
] as const) {
  for (const form of ['ss', 'sd']) {
    add(`${name}${form}`, [...(form === 'sd' ? [0x66] : []), 0x0f, opcode, 0xc1], filler(form), (m, c) => {
      const relation = Number(m.call(`order_${form}`, m.xmm(0), m.xmm(1), name === 'comi' ? 1 : 0))
      const flags = relation > 0 ? 0 : relation < 0 ? 1 : relation === 0 ? 0x40 : 0x45
      if (!m.faulted) c.eflags = (c.eflags & ~0x8d5) | flags
    })
  }
}

const convert = (name: string, code: readonly number[], fill: Filler): void =>
  add(name, code, fill, (m) => m.call(`sse_${name}`, m.xmm(0), m.xmm(1)))
convert('cvtss2sd', [0xf3, 0x0f, 0x5a, 0xc1], pack32)
convert('cvtsd2ss', [0xf2, 0x0f, 0x5a, 0xc1], pack64)
convert('cvtps2pd', [0x0f, 0x5a, 0xc1], pack32)
convert('cvtpd2ps', [0x66, 0x0f, 0x5a, 0xc1], pack64)
convert('cvtdq2ps', [0x0f, 0x5b, 0xc1], integers)
convert('cvtdq2pd', [0xf3, 0x0f, 0xe6, 0xc1], integers)
for (const [name, code, truncate, fill] of [
  ['cvtps2dq', [0x66, 0x0f, 0x5b, 0xc1], 0, pack32],
  ['cvtps2dq', [0xf3, 0x0f, 0x5b, 0xc1], 1, pack32],
  ['cvtpd2dq', [0xf2, 0x0f, 0xe6, 0xc1], 0, pack64],
  ['cvtpd2dq', [0x66, 0x0f, 0xe6, 0xc1], 1, pack64],
] as const) {
  add(`${name}${truncate ? '.t' : ''}`, code, fill, (m) =>
    m.call(`sse_${name}`, m.xmm(0), m.xmm(1), truncate),
  )
}
for (const form of ['ss', 'sd']) {
  const prefix = PREFIX[form] ?? []
  for (const [rex, width] of [
    [[], 32],
    [[0x48], 64],
  ] as const) {
    for (const [opcode, truncate] of [
      [0x2d, 0],
      [0x2c, 1],
    ] as const) {
      add(
        `cvt${truncate ? 't' : ''}${form}2si${width}`,
        [...prefix, ...rex, 0x0f, opcode, 0xc1],
        filler(form),
        (m, c) => {
          const value = m.call(`sse_cvt${form}2si`, m.xmm(1), width, truncate) as bigint
          if (!m.faulted) c.rax = BigInt.asUintN(width, value)
        },
      )
    }
    add(`cvtsi${width}2${form}`, [...prefix, ...rex, 0x0f, 0x2a, 0xc0], integers, (m, c) =>
      m.call(`sse_cvtsi2${form}`, m.xmm(0), BigInt.asIntN(width, c.rax)),
    )
  }
}

export const SSE_INSTRUCTIONS: readonly Instruction[] = list

/** MXCSR settings: mostly masked with every rounding, DAZ, FTZ and sticky flags; a quarter with random masks. */
function mxcsr(r: Random): number {
  const sticky = r.pick([0, 0x20, 0x22, r.below(64)])
  const masks = r.below(4) === 0 ? r.below(64) : 63
  const modes =
    r.below(3) === 0
      ? 0
      : (r.below(4) << 13) | (r.below(4) === 0 ? 0x8000 : 0) | (r.below(4) === 0 ? 0x40 : 0)
  return sticky | (masks << 7) | modes
}

/** Fills `cases` with draws for one instruction. */
export function fillSseCases(r: Random, instruction: Instruction, cases: Uint8Array): void {
  for (let at = 0; at < cases.length; at += CASE_SIZE) {
    const c = new CaseState(cases.subarray(at, at + CASE_SIZE))
    c.bytes.set(instruction.code)
    c.bytes[15] = instruction.code.length
    c.view.setUint32(CASE.mxcsr, mxcsr(r), true)
    c.eflags = r.u32() & 0x8d5
    c.view.setUint16(CASE.fcw, 0x37f, true)
    c.rax = r.u64()
    for (let i = 0; i < 16; i++) c.view.setUint32(CASE.xmm + 4 * i, r.u32(), true)
    instruction.fill(r, c)
  }
}
