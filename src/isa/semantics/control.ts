/** Control transfer. Near branches check their target before they change anything (Emit.branchTo's commit); far ones are the kernel's. */
import type { Emit, IntTy, Reg64, Semantics, Val } from '../emit.ts'
import { CONDITIONS, type ConditionName } from '../row.ts'
import type { controlRows } from '../rows/control.ts'
import { each, type SemanticsOf } from './semantics-of.ts'

const bytes = (e: Emit): Val => e.const('i32', e.width / 8)

/** A value of the operand size as a RIP. */
const toRip = (e: Emit, value: Val): Val => e.let(e.zext(value, 'i64'))

const returnAddress = (e: Emit): Val => (e.width === 64 ? e.nextRip() : e.trunc(e.nextRip(), e.ty))

const callRelative: Semantics = (e) => e.branchRel(undefined, () => e.push(returnAddress(e)))

const callIndirect: Semantics = (e) => {
  const target = toRip(e, e.read(0))
  e.branchTo(target, () => e.push(returnAddress(e)))
}

const ret: Semantics = (e) => {
  const target = toRip(e, e.peek(e.ty))
  e.branchTo(target, () => e.adjustStack(e.width / 8))
}

const retImmediate: Semantics = (e) => {
  const target = toRip(e, e.peek(e.ty))
  const release = e.add(e.zext(e.read(0), 'i64'), e.const('i64', e.width / 8))
  e.branchTo(target, () => e.adjustStack(release))
}

// --- counted branches ------------------------------------------------------------------------------------------

const COUNT_TY = { a16: 'i16', a32: 'i32', a64: 'i64' } as const satisfies Record<string, IntTy>
const RCX: Reg64 = 'rcx'

/** The count is written only after the target was checked; flags stay. */
function loop(size: keyof typeof COUNT_TY, zf: boolean | undefined): Semantics {
  return (e) => {
    const ty = COUNT_TY[size]
    const count = e.let(e.sub(e.reg(RCX, ty), e.const(ty, 1)))
    const more = e.ne(count, e.const(ty, 0))
    const taken = e.let(zf === undefined ? more : e.and(more, zf ? e.flag('zf') : e.isZero(e.flag('zf'))))
    e.if_(taken, () => e.branchRel(undefined, () => e.setReg(RCX, count)))
    e.setReg(RCX, count)
  }
}

function jcxz(size: keyof typeof COUNT_TY): Semantics {
  return (e) => e.branchRel(e.let(e.isZero(e.reg(RCX, COUNT_TY[size]))))
}

// --- far -------------------------------------------------------------------------------------------------------

type FarHelper = 'sys_jmp_far' | 'sys_call_far'

const farImmediate =
  (helper: FarHelper): Semantics =>
  (e) => {
    const pointer = e.let(e.read(0))
    const selector = e.trunc(e.shr(pointer, e.const('i32', 32)), 'i32')
    e.call(helper, [selector, e.and(pointer, e.const('i64', 0xffff_ffff)), bytes(e)])
  }

const farMemory =
  (helper: FarHelper): Semantics =>
  (e) => {
    const size = e.width / 8
    const offset = e.let(e.zext(e.load(e.ty, e.linear(size, false)), 'i64'))
    const selector = e.zext(e.load('i16', e.linear(2, false, size)), 'i32')
    e.call(helper, [selector, offset, bytes(e)])
  }

/** Signed bounds at m and m + size; the index itself is operand 0. */
const bound: Semantics = (e) => {
  const size = e.width / 8
  const index = e.let(e.read(0))
  const lower = e.let(e.load(e.ty, e.linear(size, false)))
  const upper = e.load(e.ty, e.linear(size, false, size))
  e.raiseIf(e.or(e.ltS(index, lower), e.ltS(upper, index)), 'BR')
}

const jcc = Object.fromEntries(
  CONDITIONS.flatMap(([cc]) => {
    const semantics: Semantics = (e) => e.branchRel(e.cond(cc))
    return [
      [`j${cc}_rel8`, semantics],
      [`j${cc}_relz`, semantics],
    ]
  }),
) as Record<`j${ConditionName}_rel8` | `j${ConditionName}_relz`, Semantics>

// prettier-ignore
export const controlSemantics: SemanticsOf<typeof controlRows> = {
  ...jcc,
  loopne_a16: loop('a16', false), loopne_a32: loop('a32', false), loopne_a64: loop('a64', false),
  loope_a16: loop('a16', true), loope_a32: loop('a32', true), loope_a64: loop('a64', true),
  loop_a16: loop('a16', undefined), loop_a32: loop('a32', undefined), loop_a64: loop('a64', undefined),
  jcxz_a16: jcxz('a16'), jcxz_a32: jcxz('a32'), jcxz_a64: jcxz('a64'),
  ...each(['jmp_rel8', 'jmp_relz'], (e) => e.branchRel()),
  jmp_rmv: (e) => e.branchTo(toRip(e, e.read(0))),
  call_relz: callRelative,
  call_rmv: callIndirect,
  ret,
  ret_imm16: retImmediate,
  jmpf_ptr: farImmediate('sys_jmp_far'),
  jmpf_m: farMemory('sys_jmp_far'),
  callf_ptr: farImmediate('sys_call_far'),
  callf_m: farMemory('sys_call_far'),
  retf: (e) => e.call('sys_ret_far', [e.const('i32', 0), bytes(e)]),
  retf_imm16: (e) => e.call('sys_ret_far', [e.zext(e.read(0), 'i32'), bytes(e)]),
  iret: (e) => e.call('sys_iret', [bytes(e)]),
  int_imm8: (e) => e.call('sys_int', [e.zext(e.read(0), 'i32')]),
  int3: (e) => e.call('sys_int3', []),
  into: (e) => e.if_(e.flag('of'), () => e.call('sys_into', [])),
  int1: (e) => e.call('sys_int1', []),
  bound_rv_m: bound,
}
