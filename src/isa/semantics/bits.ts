/** Bit instructions, BMI, CRC32 and flag control. Flags that the manual leaves undefined keep their value (BT) or are those of the result. */
import type { Emit, Semantics, Val } from '../emit.ts'
import { CONDITIONS, type ConditionName } from '../row.ts'
import type { bitsRows } from '../rows/bits.ts'
import { highUnsigned } from './product.ts'
import { callValue, each, type SemanticsOf } from './semantics-of.ts'
import { CPU_EFLAGS } from '#abi/layout.ts'

const zero = (e: Emit): Val => e.const('i32', 0)
const one = (e: Emit): Val => e.const('i32', 1)

/** Shift count (i32) from a value of the operand type, masked to the width. */
function bitIndex(e: Emit, value: Val): Val {
  const index = value.ty === 'i64' ? e.trunc(value, 'i32') : e.zext(value, 'i32')
  return e.let(e.and(index, e.const('i32', e.width - 1)))
}

function lowBit(e: Emit, value: Val): Val {
  return e.and(value.ty === 'i64' ? e.trunc(value, 'i32') : e.zext(value, 'i32'), one(e))
}

type BitOperation = (e: Emit, old: Val, mask: Val) => Val

/** Memory operand and register offset: the bit string reaches 2^(width-1) bits to both sides of the address. */
function byteDisplacement(e: Emit, offset: Val): Val {
  const wide = e.sext(offset, 'i64')
  const words = e.sar(wide, e.const('i32', Math.log2(e.width)))
  return e.let(e.shl(words, e.const('i32', Math.log2(e.width / 8))))
}

function bitTest(change: BitOperation | undefined): Semantics {
  return (e) => {
    const offset = e.let(e.read(1))
    const index = bitIndex(e, offset)
    // an immediate offset is taken modulo the operand size (its type is i8), only a register reaches further
    const far = e.isMemory(0) && offset.ty === e.ty ? byteDisplacement(e, offset) : undefined
    let old: Val
    if (change) {
      const mask = e.let(e.shl(e.const(e.ty, 1), index))
      old = e.modify(0, (a) => change(e, a, mask), far).old
    } else {
      old = e.let(far ? e.load(e.ty, e.linear(e.width / 8, false, far)) : e.read(0))
    }
    e.setFlagBits({ cf: e.let(lowBit(e, e.shr(old, index))) })
  }
}

const bts = bitTest((e, old, mask) => e.or(old, mask))
const btr = bitTest((e, old, mask) => e.and(old, e.not(mask)))
const btc = bitTest((e, old, mask) => e.xor(old, mask))

/** Zero source: the destination keeps its value (written back, so that a 32-bit one stays zero-extended only when found). */
function scan(position: (e: Emit, source: Val) => Val): Semantics {
  return (e) => {
    const source = e.let(e.read(1))
    e.if_(e.ne(source, e.const(e.ty, 0)), () => e.write(0, position(e, source)))
    e.setFlags({ kind: 'logic', result: source })
  }
}

const bsf = scan((e, source) => e.ctz(source))
const bsr = scan((e, source) => e.xor(e.clz(source), e.const(e.ty, e.width - 1)))

/** ZF of the result, CF of the source. */
function count(operation: 'ctz' | 'clz'): Semantics {
  return (e) => {
    const source = e.let(e.read(1))
    const result = e.let(e[operation](source))
    e.write(0, result)
    e.setFlags({ kind: 'explicit', result, cf: e.let(e.isZero(source)), of: zero(e) })
  }
}

const popcnt: Semantics = (e) => {
  const source = e.let(e.read(1))
  e.write(0, e.popcnt(source))
  const none = zero(e)
  e.setFlagBits({ zf: e.let(e.isZero(source)), cf: none, of: none, sf: none, pf: none, af: none })
}

const crc32 =
  (bits: (e: Emit) => number): Semantics =>
  (e) => {
    const data = e.zext(e.read(1), 'i64')
    const seed = e.read(0)
    const crc = seed.ty === 'i64' ? e.trunc(seed, 'i32') : e.zext(seed, 'i32')
    const result = callValue(e, 'crc32c', [crc, data, e.const('i32', bits(e) / 8)])
    e.write(0, seed.ty === 'i64' ? e.zext(result, 'i64') : result)
  }

// --- BMI -------------------------------------------------------------------------------------------------------

const setBmiFlags = (e: Emit, result: Val, cf: Val): void =>
  e.setFlags({ kind: 'explicit', result, cf, of: zero(e) })

const andn: Semantics = (e) => {
  const result = e.let(e.and(e.not(e.read(1)), e.read(2)))
  e.write(0, result)
  e.setFlags({ kind: 'logic', result })
}

/** Start in bits 0-7 of the control, length in bits 8-15. */
const bextr: Semantics = (e) => {
  const source = e.let(e.read(1))
  const raw = e.read(2)
  const control = e.let(raw.ty === 'i64' ? e.trunc(raw, 'i32') : raw)
  const limit = e.const('i32', e.width)
  const mask = e.const('i32', e.width - 1)
  const start = e.let(e.and(control, e.const('i32', 255)))
  const length = e.let(e.and(e.shr(control, e.const('i32', 8)), e.const('i32', 255)))
  const nothing = e.const(e.ty, 0)
  const shifted = e.let(e.select(e.ltU(start, limit), e.shr(source, e.and(start, mask)), nothing))
  const kept = e.and(shifted, e.sub(e.shl(e.const(e.ty, 1), e.and(length, mask)), e.const(e.ty, 1)))
  const result = e.let(e.select(e.ltU(length, limit), kept, shifted))
  e.write(0, result)
  e.setFlags({ kind: 'logic', result })
}

const blsi: Semantics = (e) => {
  const source = e.let(e.read(1))
  const result = e.let(e.and(source, e.neg(source)))
  e.write(0, result)
  setBmiFlags(e, result, e.let(e.ne(source, e.const(e.ty, 0))))
}

const blsmsk: Semantics = (e) => {
  const source = e.let(e.read(1))
  const result = e.let(e.xor(source, e.sub(source, e.const(e.ty, 1))))
  e.write(0, result)
  setBmiFlags(e, result, e.let(e.isZero(source)))
}

const blsr: Semantics = (e) => {
  const source = e.let(e.read(1))
  const result = e.let(e.and(source, e.sub(source, e.const(e.ty, 1))))
  e.write(0, result)
  setBmiFlags(e, result, e.let(e.isZero(source)))
}

const bzhi: Semantics = (e) => {
  const source = e.let(e.read(1))
  const raw = e.read(2)
  const start = e.let(e.and(raw.ty === 'i64' ? e.trunc(raw, 'i32') : raw, e.const('i32', 255)))
  const inside = e.let(e.ltU(start, e.const('i32', e.width)))
  const low = e.sub(e.shl(e.const(e.ty, 1), e.and(start, e.const('i32', e.width - 1))), e.const(e.ty, 1))
  const result = e.let(e.select(inside, e.and(source, low), source))
  e.write(0, result)
  setBmiFlags(e, result, e.let(e.isZero(inside)))
}

/** Low half to VEX.vvvv, high half to ModRM.reg: the high half wins where both are one register. */
const mulx: Semantics = (e) => {
  const b = e.let(e.read(2))
  if (e.ty === 'i64') {
    const a = e.let(e.reg('rdx', 'i64'))
    const high = highUnsigned(e, a, b)
    e.write(1, e.mul(a, b))
    e.write(0, high)
    return
  }
  const product = e.let(e.mul(e.zext(e.reg('rdx', 'i32'), 'i64'), e.zext(b, 'i64')))
  e.write(1, e.trunc(product, 'i32'))
  e.write(0, e.trunc(e.shr(product, e.const('i32', 32)), 'i32'))
}

function deposit(name: 'pdep64' | 'pext64'): Semantics {
  return (e) => {
    const source = e.zext(e.read(1), 'i64')
    const mask = e.zext(e.read(2), 'i64')
    const result = callValue(e, name, [source, mask])
    e.write(0, e.ty === 'i64' ? result : e.trunc(result, e.ty))
  }
}

// --- flags -----------------------------------------------------------------------------------------------------

/** DF is not an arithmetic flag: it lives in CPU_EFLAGS. */
const DF = 1 << 10

const cld: Semantics = (e) => e.setCpu(CPU_EFLAGS, e.and(e.getCpu('i32', CPU_EFLAGS), e.const('i32', ~DF)))
const std: Semantics = (e) => e.setCpu(CPU_EFLAGS, e.or(e.getCpu('i32', CPU_EFLAGS), e.const('i32', DF)))

/** AH: SF ZF 0 AF 0 PF 1 CF. */
const STATUS_IN_AH = [
  ['cf', 0],
  ['pf', 2],
  ['af', 4],
  ['zf', 6],
  ['sf', 7],
] as const

const sahf: Semantics = (e) => {
  const ah = e.let(e.zext(e.regHigh('rax'), 'i32'))
  const bit = (n: number): Val => e.let(e.and(e.shr(ah, e.const('i32', n)), one(e)))
  e.setFlagBits({ cf: bit(0), pf: bit(2), af: bit(4), zf: bit(6), sf: bit(7) })
}

const lahf: Semantics = (e) => {
  let value = e.const('i32', 2)
  for (const [flag, position] of STATUS_IN_AH)
    value = e.or(value, e.shl(e.flag(flag), e.const('i32', position)))
  e.setRegHigh('rax', e.trunc(value, 'i8'))
}

const setcc = Object.fromEntries(
  CONDITIONS.map(([cc]): [string, Semantics] => [
    `set${cc}_rm8`,
    (e) => e.write(0, e.trunc(e.cond(cc), 'i8')),
  ]),
) as Record<`set${ConditionName}_rm8`, Semantics>

// prettier-ignore
export const bitsSemantics: SemanticsOf<typeof bitsRows> = {
  ...setcc,
  ...each(['bt_rmv_rv', 'bt_rmv_imm8'], bitTest(undefined)),
  ...each(['bts_rmv_rv', 'bts_rmv_imm8'], bts),
  ...each(['btr_rmv_rv', 'btr_rmv_imm8'], btr),
  ...each(['btc_rmv_rv', 'btc_rmv_imm8'], btc),
  bsf_rv_rmv: bsf,
  bsr_rv_rmv: bsr,
  tzcnt_rv_rmv: count('ctz'),
  lzcnt_rv_rmv: count('clz'),
  popcnt_rv_rmv: popcnt,
  crc32_ry_rm8: crc32(() => 8),
  crc32_ry_rmv: crc32((e) => e.width),
  andn_ry_vy_rmy: andn,
  bextr_ry_rmy_vy: bextr,
  blsi_vy_rmy: blsi,
  blsmsk_vy_rmy: blsmsk,
  blsr_vy_rmy: blsr,
  bzhi_ry_rmy_vy: bzhi,
  mulx_ry_vy_rmy: mulx,
  pdep_ry_vy_rmy: deposit('pdep64'),
  pext_ry_vy_rmy: deposit('pext64'),
  cmc: (e) => e.setFlagBits({ cf: e.let(e.isZero(e.flag('cf'))) }),
  clc: (e) => e.setFlagBits({ cf: zero(e) }),
  stc: (e) => e.setFlagBits({ cf: one(e) }),
  cld,
  std,
  ...each(['sahf', 'sahf_64'], sahf),
  ...each(['lahf', 'lahf_64'], lahf),
  salc: (e) => e.setReg('rax', e.trunc(e.neg(e.flag('cf')), 'i8')),
}
