/** Data movement. Nothing here touches flags except POPF, which the kernel does. */
import type { Emit, IntTy, Semantics, Val } from '../emit.ts'
import { CONDITIONS, type ConditionName } from '../row.ts'
import type { moveRows } from '../rows/move.ts'
import { each, type SemanticsOf } from './semantics-of.ts'
import {
  SEG_CS,
  SEG_DS,
  SEG_ES,
  SEG_FS,
  SEG_GS,
  SEG_SELECTOR,
  SEG_SS,
  CPU_SEG,
  CPU_SEG_STRIDE,
} from '#abi/layout.ts'

const mov: Semantics = (e) => e.write(0, e.read(1))
const movzx: Semantics = (e) => e.write(0, e.zext(e.read(1), e.ty))
const movsx: Semantics = (e) => e.write(0, e.sext(e.read(1), e.ty))
const movbe: Semantics = (e) => e.write(0, e.bswap(e.read(1)))

/** A memory destination takes 16 bits at any operand size; a register takes the zero-extended selector. */
const movFromSreg: Semantics = (e) => {
  const selector = e.loadAt('i16', e.addressOf(1), SEG_SELECTOR)
  if (e.isMemory(0)) e.store(e.linear(2, true), selector)
  else e.write(0, e.zext(selector, e.ty))
}

const movToSreg: Semantics = (e) => {
  const number = e.read(0)
  e.raiseIf(e.eq(number, e.const('i32', SEG_CS)), 'UD')
  e.raiseIf(e.leU(e.const('i32', SEG_GS + 1), number), 'UD')
  const selector = e.zext(e.read(1), 'i32')
  e.call('sys_load_seg', [number, selector])
}

/** The destination is written (and its upper half zeroed) even when the condition is false. */
function cmov(cc: ConditionName): Semantics {
  return (e) => {
    const source = e.read(1)
    e.write(0, e.select(e.cond(cc), source, e.read(0)))
  }
}

const xchg: Semantics = (e) => {
  const b = e.read(1)
  const { old } = e.modify(0, () => b)
  e.write(1, old)
}

/** Operand 1 is read before operand 0 is written: XCHG rAX, rAX included. */
const xchgAccumulator: Semantics = (e) => {
  const a = e.let(e.read(0))
  const b = e.let(e.read(1))
  e.write(1, a)
  e.write(0, b)
}

const lea: Semantics = (e) => {
  const offset = e.offset()
  e.write(0, e.ty === 'i64' ? offset : e.trunc(offset, e.ty))
}

const xlat: Semantics = (e) => {
  const gva = e.linear(1, false, e.zext(e.reg('rax', 'i8'), 'i64'))
  e.setReg('rax', e.load('i8', gva))
}

const HALF: Readonly<Record<string, IntTy>> = { i16: 'i8', i32: 'i16', i64: 'i32' }

const cbw: Semantics = (e) => e.setReg('rax', e.sext(e.reg('rax', HALF[e.ty]), e.ty))

const cwd: Semantics = (e) => {
  const sign = e.sar(e.reg('rax', e.ty), e.const('i32', e.width - 1))
  e.setReg('rdx', sign)
}

const push: Semantics = (e) => e.push(e.read(0))

const pop: Semantics = (e) => e.write(0, e.pop(e.ty))

/**
 * POP m: the store may fault after the stack was read, so RSP moves last. Its address uses the incremented RSP
 * (SDM Vol. 2, POP): the decoder adds the operand size to the displacement when the base is RSP.
 */
const popModrm: Semantics = (e) => {
  if (!e.isMemory(0)) return pop(e)
  const value = e.let(e.peek(e.ty))
  e.write(0, value)
  e.adjustStack(e.width / 8)
}

const selectorOf = (e: Emit, segment: number): Val =>
  e.getCpu('i16', CPU_SEG + segment * CPU_SEG_STRIDE + SEG_SELECTOR)
const pushSegment =
  (segment: number): Semantics =>
  (e) =>
    e.push(e.zext(selectorOf(e, segment), e.ty))

/** The selector load may fault after the stack was read, so RSP moves last. */
const popSegment =
  (segment: number): Semantics =>
  (e) => {
    const selector = e.peek(e.ty)
    const low = e.and(
      e.ty === 'i64' ? e.trunc(selector, 'i32') : e.zext(selector, 'i32'),
      e.const('i32', 0xffff),
    )
    e.call('sys_load_seg', [e.const('i32', segment), low])
    e.adjustStack(e.width / 8)
  }

const bytes = (e: Emit): Val => e.const('i32', e.width / 8)

/** The segment load is last to fault; the register is written after it. */
const loadFar =
  (segment: number): Semantics =>
  (e) => {
    const size = e.width / 8
    const offset = e.let(e.load(e.ty, e.linear(size, false)))
    const selector = e.load('i16', e.linear(2, false, size))
    e.call('sys_load_seg', [e.const('i32', segment), e.zext(selector, 'i32')])
    e.write(0, offset)
  }

const conditional = Object.fromEntries(CONDITIONS.map(([cc]) => [`cmov${cc}_rv_rmv`, cmov(cc)])) as Record<
  `cmov${ConditionName}_rv_rmv`,
  Semantics
>

// prettier-ignore
export const moveSemantics: SemanticsOf<typeof moveRows> = {
  ...each(['mov_rm8_r8', 'mov_rmv_rv', 'mov_r8_rm8', 'mov_rv_rmv', 'mov_al_moffs8', 'mov_rAXv_moffs', 'mov_moffs8_al', 'mov_moffs_rAXv',
    'mov_r8_imm8', 'mov_rv_immv', 'mov_rm8_imm8', 'mov_rmv_immz'], mov),
  mov_rmv_sreg: movFromSreg,
  mov_sreg_rm16: movToSreg,
  ...each(['movzx_rv_rm8', 'movzx_rv_rm16'], movzx),
  ...each(['movsx_rv_rm8', 'movsx_rv_rm16', 'movsxd_ry_rm32'], movsx),
  movsxd_r16_rm32: (e) => e.write(0, e.trunc(e.read(1), 'i16')),
  ...each(['movbe_rv_mv', 'movbe_mv_rv'], movbe),
  ...conditional,
  ...each(['xchg_rm8_r8', 'xchg_rmv_rv'], xchg),
  ...each(['xchg_ov_rAXv', 'xchg_r8_rAXv'], xchgAccumulator),
  bswap_oy: (e) => e.write(0, e.bswap(e.read(0))),
  lea_rv_m: lea,
  xlat,
  cbw,
  cwd,
  ...each(['push_ov', 'push_rmv', 'push_immz', 'push_simm8'], push),
  push_es: pushSegment(SEG_ES),
  push_cs: pushSegment(SEG_CS),
  push_ss: pushSegment(SEG_SS),
  push_ds: pushSegment(SEG_DS),
  push_fs: pushSegment(SEG_FS),
  push_gs: pushSegment(SEG_GS),
  pop_ov: pop,
  pop_rmv: popModrm,
  pop_es: popSegment(SEG_ES),
  pop_ss: popSegment(SEG_SS),
  pop_ds: popSegment(SEG_DS),
  pop_fs: popSegment(SEG_FS),
  pop_gs: popSegment(SEG_GS),
  pusha: (e) => e.call('sys_pusha', [bytes(e)]),
  popa: (e) => e.call('sys_popa', [bytes(e)]),
  pushf: (e) => e.call('sys_pushf', [bytes(e)]),
  popf: (e) => e.call('sys_popf', [bytes(e)]),
  enter: (e) => e.call('sys_enter_frame', [e.zext(e.read(0), 'i32'), e.zext(e.read(1), 'i32'), bytes(e)]),
  leave: (e) => e.call('sys_leave', [bytes(e)]),
  lds: loadFar(SEG_DS),
  les: loadFar(SEG_ES),
  lss: loadFar(SEG_SS),
  lfs: loadFar(SEG_FS),
  lgs: loadFar(SEG_GS),
}
