/**
 * x87: every operation is a kernel function on the register stack (src/kernel/fp). Operations call begin() before they change
 * anything: it records the instruction pointer, data pointer and opcode.
 */
import {
  CPU_SCRATCH,
  CPU_SEG,
  CPU_SEG_STRIDE,
  CPU_X87_FCS,
  CPU_X87_FDP,
  CPU_X87_FDS,
  CPU_X87_FIP,
  CPU_X87_FOP,
  CPU_X87_STORE,
  CPU_X87_TAG,
  CPU_X87_TOP,
  SEG_CS,
  SEG_SELECTOR,
} from '#abi/layout.ts'
import type { Emit, Semantics, Val } from '../emit.ts'
import type { Row } from '../row.ts'
import { x87Rows } from '../rows/x87.ts'
import { callValue, gateX87, i32 } from './vector.ts'
import { setCompareFlags } from './sse.ts'

const PAGE_MASK = 0xfff

/** Opcode bits of the last x87 instruction: low 3 bits of the opcode byte, then ModRM (SDM Vol. 1, 8.1.9). */
function fopOf(row: Row): number {
  const bytes = row.op.split(' ')
  const opcode = Number.parseInt(bytes[0] ?? '', 16)
  const digit = /\/(\d)/.exec(row.op)
  if (digit) return ((opcode & 7) << 8) | (Number(digit[1]) << 3) | (row.op.includes('mod=3') ? 0xc0 : 0)
  return ((opcode & 7) << 8) | Number.parseInt(bytes[1] ?? '0', 16)
}

/** What FNSTENV shows of the last instruction: opcode, RIP and CS, offset and segment of a memory operand. */
function record(e: Emit, fop: Val, memory: boolean): void {
  e.setCpu(CPU_X87_FOP, e.trunc(fop, 'i16'))
  e.setCpu(CPU_X87_FIP, e.rip())
  e.setCpu(CPU_X87_FCS, e.getCpu('i16', CPU_SEG + SEG_CS * CPU_SEG_STRIDE + SEG_SELECTOR))
  if (!memory) return
  e.setCpu(CPU_X87_FDP, e.offset())
  const segments = e.add(e.scratch(0), i32(e, CPU_SEG - CPU_SCRATCH))
  const segment = e.shl(e.and(e.seg(), i32(e, 7)), i32(e, Math.log2(CPU_SEG_STRIDE)))
  e.setCpu(CPU_X87_FDS, e.loadAt('i16', e.add(segments, segment), SEG_SELECTOR))
}

const number = (e: Emit, values: readonly number[]): Val[] => values.map((value) => i32(e, value))

/**
 * What an operation is given: the stack index of its sti operand (0 without one) and begin(), which records the
 * instruction. A memory operand is read before begin(), so that a page fault leaves the old record.
 */
interface Frame {
  readonly st: Val
  begin(): void
}
type Op = (e: Emit, frame: Frame) => void

const stack =
  (use: (e: Emit, st: Val) => void): Op =>
  (e, { st, begin }) => {
    begin()
    use(e, st)
  }

/** A kernel function of constants only. */
const plain = (name: string, ...values: readonly number[]): Op =>
  stack((e) => e.call(name, number(e, values)))

/** Arithmetic codes of x87_arith_*: bit 0 of the pairs SUB/SUBR and DIV/DIVR exchanges the operands. */
const ARITH_CODE = { fadd: 0, fmul: 1, fsub: 4, fsubr: 5, fdiv: 6, fdivr: 7 } as const
type Arith = keyof typeof ARITH_CODE
const ARITH = Object.keys(ARITH_CODE) as Arith[]

/** A memory operand, read before anything changes. */
const fromMemory =
  (use: (e: Emit, value: Val) => void): Op =>
  (e, { begin }) => {
    const value = e.read(0)
    begin()
    use(e, value)
  }

const integer = (e: Emit, value: Val): Val => e.sext(value, 'i64')

function arithmetic(): Record<string, Op> {
  const ops: Record<string, Op> = {}
  for (const name of ARITH) {
    const code = ARITH_CODE[name]
    const integerName = `fi${name.slice(1)}`
    ops[`${name}_m32`] = fromMemory((e, x) => e.call('x87_arith_f32', [i32(e, code), x]))
    ops[`${name}_m64`] = fromMemory((e, x) => e.call('x87_arith_f64', [i32(e, code), x]))
    ops[`${integerName}_m32int`] = fromMemory((e, x) =>
      e.call('x87_arith_int', [i32(e, code), integer(e, x)]),
    )
    ops[`${integerName}_m16int`] = fromMemory((e, x) =>
      e.call('x87_arith_int', [i32(e, code), integer(e, x)]),
    )
    ops[`${name}_st0_sti`] = stack((e, st) =>
      e.call('x87_arith_st', [i32(e, code), i32(e, 0), st, i32(e, 0)]),
    )
    ops[`${name}_sti_st0`] = stack((e, st) =>
      e.call('x87_arith_st', [i32(e, code), st, i32(e, 0), i32(e, 0)]),
    )
    ops[`${name}p_sti_st0`] = stack((e, st) =>
      e.call('x87_arith_st', [i32(e, code), st, i32(e, 0), i32(e, 1)]),
    )
  }
  return ops
}

function comparisons(): Record<string, Op> {
  const ops: Record<string, Op> = {}
  for (const [name, pops] of [
    ['fcom', 0],
    ['fcomp', 1],
  ] as const) {
    const integerName = `fi${name.slice(1)}`
    const register: Op = stack((e, st) => e.call('x87_fcom_st', [st, i32(e, pops), i32(e, 0)]))
    ops[`${name}_st0_sti`] = register
    ops[`${name}_sti_dc`] = register
    ops[`${name}_sti_de`] = register
    ops[`${name}_m32`] = fromMemory((e, x) => e.call('x87_fcom_f32', [x, i32(e, pops)]))
    ops[`${name}_m64`] = fromMemory((e, x) => e.call('x87_fcom_f64', [x, i32(e, pops)]))
    ops[`${integerName}_m32int`] = fromMemory((e, x) => e.call('x87_fcom_int', [integer(e, x), i32(e, pops)]))
    ops[`${integerName}_m16int`] = fromMemory((e, x) => e.call('x87_fcom_int', [integer(e, x), i32(e, pops)]))
  }
  delete ops['fcom_sti_de']
  return ops
}

/** FCOMI family: -1 means that an unmasked exception leaves EFLAGS alone. */
const compareToFlags = (pop: 0 | 1, quiet: 0 | 1): Op =>
  stack((e, st) => {
    const result = e.let(callValue(e, 'x87_fcomi', [st, i32(e, pop), i32(e, quiet)]))
    e.if_(e.ne(result, i32(e, -1)), () => setCompareFlags(e, result))
  })

const conditionalMove = (cc: 'b' | 'e' | 'be' | 'p' | 'ae' | 'ne' | 'a' | 'np'): Op =>
  stack((e, st) => e.call('x87_fcmov', [st, e.cond(cc)]))

/** Stores the value that `convert` left, unless an unmasked exception withholds it, and pops. */
function storeResult(e: Emit, bytes: number, pops: 0 | 1, put: (gva: Val) => void): void {
  const gva = e.linear(bytes, true)
  e.if_(
    e.and(e.getCpu('i32', CPU_X87_STORE), i32(e, 1)),
    () => put(gva),
    () => e.call('mem_probe', [gva, i32(e, bytes), i32(e, 1), e.seg()]),
  )
  e.call('x87_store_commit', [i32(e, pops)])
}

const storeFloat =
  (bits: 32 | 64, pops: 0 | 1): Op =>
  (e, { begin }) => {
    begin()
    const value = e.let(callValue(e, `x87_store_f${bits}`, []))
    storeResult(e, bits / 8, pops, (gva) => e.store(gva, value))
  }

const storeInteger =
  (bits: 16 | 32 | 64, pops: 0 | 1, truncate: 0 | 1): Op =>
  (e, { begin }) => {
    begin()
    const value = e.let(callValue(e, 'x87_store_int', [i32(e, bits), i32(e, truncate)]))
    const ty = bits === 16 ? 'i16' : bits === 32 ? 'i32' : 'i64'
    storeResult(e, bits / 8, pops, (gva) => e.store(gva, bits === 64 ? value : e.trunc(value, ty)))
  }

/** Ten bytes: through a scratch slot if a page ends inside them, so that the first half is not written alone. */
const storeTenBytes =
  (name: string): Op =>
  (e, { begin }) => {
    begin()
    const low = e.let(callValue(e, name, []))
    const high = e.let(e.trunc(e.shr(e.getCpu('i32', CPU_X87_STORE), i32(e, 16)), 'i16'))
    storeResult(e, 10, 1, (gva) => {
      const inside = e.leU(e.and(e.trunc(gva, 'i32'), i32(e, PAGE_MASK)), i32(e, PAGE_MASK - 9))
      const whole = (): void => {
        e.store(gva, low)
        e.store(e.add(gva, e.const('i64', 8)), high)
      }
      e.if_(inside, whole, () => {
        const image = e.scratch(0)
        e.storeAt(image, low)
        e.storeAt(image, high, 8)
        e.call('mem_store_bytes', [gva, image, i32(e, 10), e.seg()])
      })
    })
  }

const loadTenBytes =
  (name: string): Op =>
  (e, { begin }) => {
    const gva = e.linear(10, false)
    const low = e.cell(e.const('i64', 0))
    const high = e.cell(i32(e, 0))
    const inside = e.leU(e.and(e.trunc(gva, 'i32'), i32(e, PAGE_MASK)), i32(e, PAGE_MASK - 9))
    const whole = (): void => {
      low.set(e.load('i64', gva))
      high.set(e.zext(e.load('i16', e.add(gva, e.const('i64', 8))), 'i32'))
    }
    e.if_(inside, whole, () => {
      const image = e.scratch(0)
      e.call('mem_load_bytes', [gva, image, i32(e, 10), e.seg()])
      low.set(e.loadAt('i64', image))
      high.set(e.zext(e.loadAt('i16', image, 8), 'i32'))
    })
    begin()
    e.call(name, [low.get(), high.get()])
  }

const CONSTANTS = ['fld1', 'fldl2t', 'fldl2e', 'fldpi', 'fldlg2', 'fldln2', 'fldz'] as const
const UNARY = [
  'ftst',
  'fxam',
  'fchs',
  'fabs',
  'f2xm1',
  'fyl2x',
  'fptan',
  'fpatan',
  'fxtract',
  'fprem1',
  'fdecstp',
  'fincstp',
  'fprem',
  'fyl2xp1',
  'fsqrt',
  'fsincos',
  'frndint',
  'fscale',
  'fsin',
  'fcos',
] as const

const WAITING: Readonly<Record<string, Op>> = {
  ...arithmetic(),
  ...comparisons(),
  ...Object.fromEntries(CONSTANTS.map((name, n) => [name, plain('x87_fld_const', n)])),
  ...Object.fromEntries(UNARY.map((name) => [name, plain(`x87_${name}`)])),
  fcompp: plain('x87_fcom_st', 1, 2, 0),
  fucompp: plain('x87_fcom_st', 1, 2, 1),
  fucom_sti: stack((e, st) => e.call('x87_fcom_st', [st, i32(e, 0), i32(e, 1)])),
  fucomp_sti: stack((e, st) => e.call('x87_fcom_st', [st, i32(e, 1), i32(e, 1)])),
  fcomi_st0_sti: compareToFlags(0, 0),
  fcomip_st0_sti: compareToFlags(1, 0),
  fucomi_st0_sti: compareToFlags(0, 1),
  fucomip_st0_sti: compareToFlags(1, 1),
  fcmovb_st0_sti: conditionalMove('b'),
  fcmove_st0_sti: conditionalMove('e'),
  fcmovbe_st0_sti: conditionalMove('be'),
  fcmovu_st0_sti: conditionalMove('p'),
  fcmovnb_st0_sti: conditionalMove('ae'),
  fcmovne_st0_sti: conditionalMove('ne'),
  fcmovnbe_st0_sti: conditionalMove('a'),
  fcmovnu_st0_sti: conditionalMove('np'),
  fld_m32: fromMemory((e, x) => e.call('x87_fld_f32', [x])),
  fld_m64: fromMemory((e, x) => e.call('x87_fld_f64', [x])),
  fld_m80: loadTenBytes('x87_fld_f80'),
  fld_sti: stack((e, st) => e.call('x87_fld_st', [st])),
  fild_m16: fromMemory((e, x) => e.call('x87_fild', [integer(e, x)])),
  fild_m32: fromMemory((e, x) => e.call('x87_fild', [integer(e, x)])),
  fild_m64: fromMemory((e, x) => e.call('x87_fild', [x])),
  fbld_m80: loadTenBytes('x87_fbld'),
  fst_m32: storeFloat(32, 0),
  fst_m64: storeFloat(64, 0),
  fstp_m32: storeFloat(32, 1),
  fstp_m64: storeFloat(64, 1),
  fstp_m80: storeTenBytes('x87_store_f80'),
  fbstp_m80: storeTenBytes('x87_store_bcd'),
  fst_sti: stack((e, st) => e.call('x87_fst_st', [st, i32(e, 0)])),
  ...Object.fromEntries(
    ['fstp_sti', 'fstp_sti_df2', 'fstp_sti_df3'].map((id): [string, Op] => [
      id,
      stack((e, st) => e.call('x87_fst_st', [st, i32(e, 1)])),
    ]),
  ),
  // this alias alone takes an empty register without a stack fault: it only pops
  fstp_sti_d9: stack((e, st) => {
    const valid = e.and(e.shr(e.getCpu('i32', CPU_X87_TAG), e.getCpu('i32', CPU_X87_TOP)), i32(e, 1))
    e.if_(
      valid,
      () => e.call('x87_fst_st', [st, i32(e, 1)]),
      () => e.call('x87_fincstp', []),
    )
  }),
  fist_m16: storeInteger(16, 0, 0),
  fist_m32: storeInteger(32, 0, 0),
  fistp_m16: storeInteger(16, 1, 0),
  fistp_m32: storeInteger(32, 1, 0),
  fistp_m64: storeInteger(64, 1, 0),
  fisttp_m16: storeInteger(16, 1, 1),
  fisttp_m32: storeInteger(32, 1, 1),
  fisttp_m64: storeInteger(64, 1, 1),
  ...Object.fromEntries(
    ['fxch_sti', 'fxch_sti_dd', 'fxch_sti_df'].map((id): [string, Op] => [
      id,
      stack((e, st) => e.call('x87_fxch', [st])),
    ]),
  ),
  ffree_sti: stack((e, st) => e.call('x87_ffree', [st, i32(e, 0)])),
  ffreep_sti: stack((e, st) => e.call('x87_ffree', [st, i32(e, 1)])),
  fnop: stack(() => {}),
}

const ENVIRONMENT_BYTES = [14, 28] as const
const STATE_BYTES = [94, 108] as const

/** FNSTENV and its kin: 16-bit format with a 16-bit operand size, else 32-bit. */
const environment =
  (name: string, [short, long]: readonly [number, number], write: boolean): ((e: Emit) => void) =>
  (e) => {
    const gva = e.linear(e.width === 16 ? short : long, write)
    e.call(name, [gva, e.seg(), i32(e, e.width === 16 ? 2 : 4)])
  }

/** Control instructions: not recorded as the last instruction; those with `wait` still report a pending exception. */
const CONTROL: Readonly<Record<string, { readonly wait: boolean; readonly op: (e: Emit) => void }>> = {
  fwait: { wait: true, op: () => {} },
  fldcw_m16: { wait: true, op: (e) => e.call('x87_fldcw', [e.zext(e.read(0), 'i32')]) },
  fldenv_m: { wait: true, op: environment('x87_fldenv', ENVIRONMENT_BYTES, false) },
  frstor_m: { wait: true, op: environment('x87_frstor', STATE_BYTES, false) },
  fnstenv_m: { wait: false, op: environment('x87_fnstenv', ENVIRONMENT_BYTES, true) },
  fnsave_m: { wait: false, op: environment('x87_fnsave', STATE_BYTES, true) },
  fninit: { wait: false, op: (e) => e.call('x87_fninit', []) },
  fnclex: { wait: false, op: (e) => e.call('x87_fnclex', []) },
  fneni: { wait: false, op: () => {} },
  fndisi: { wait: false, op: () => {} },
  fnsetpm: { wait: false, op: () => {} },
  fnstcw_m16: { wait: false, op: (e) => e.write(0, e.trunc(callValue(e, 'x87_fnstcw', []), 'i16')) },
  fnstsw_m16: { wait: false, op: (e) => e.write(0, e.trunc(callValue(e, 'x87_fnstsw', []), 'i16')) },
  fnstsw_ax: { wait: false, op: (e) => e.write(0, e.trunc(callValue(e, 'x87_fnstsw', []), 'i16')) },
}

function semanticsOf(row: Row): Semantics {
  const control = CONTROL[row.id]
  if (control) {
    return (e) => {
      if (row.id === 'fwait') e.call('x87_wait', [])
      else gateX87(e, control.wait)
      control.op(e)
    }
  }
  const op = WAITING[row.id]
  if (!op) throw new Error(`x87 row ${row.id} has no operation`)
  const fop = fopOf(row)
  const register = row.operands.findIndex((operand) => operand.endsWith(':sti'))
  const memory = row.operands.some((operand) => /:m\d+$/.test(operand))
  return (e) => {
    gateX87(e, true)
    const st = register < 0 ? i32(e, 0) : e.read(register)
    const begin = (): void => record(e, register < 0 ? i32(e, fop) : e.or(i32(e, fop), st), memory)
    op(e, { st, begin })
  }
}

export const x87Semantics: Readonly<Record<string, Semantics>> = Object.fromEntries(
  Object.values(x87Rows).map((row) => [row.id, semanticsOf(row)]),
)
