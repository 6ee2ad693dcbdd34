/** String instructions and ports: the kernel runs them, REP included. */
import type { KernelName } from '#abi/kernel-imports.types.ts'
import type { Emit, Semantics, Val } from '../emit.ts'
import type { stringRows } from '../rows/string.ts'
import { callValue, each, type SemanticsOf } from './semantics-of.ts'

const bytes = (e: Emit): Val => e.const('i32', e.width / 8)

const string =
  (name: KernelName): Semantics =>
  (e) =>
    e.call(name, [bytes(e), e.rep(), e.addressBytes(), e.seg()])

/** Operand 1 is the port: imm8 or DX. */
const input: Semantics = (e) => {
  const value = callValue(e, 'sys_in', [e.zext(e.read(1), 'i32'), bytes(e)])
  e.setReg('rax', e.ty === 'i32' ? value : e.trunc(value, e.ty))
}

const output: Semantics = (e) =>
  e.call('sys_out', [e.zext(e.read(0), 'i32'), e.zext(e.reg('rax', e.ty), 'i32'), bytes(e)])

// prettier-ignore
export const stringSemantics: SemanticsOf<typeof stringRows> = {
  ...each(['movsb', 'movsv'], string('str_movs')),
  ...each(['cmpsb', 'cmpsv'], string('str_cmps')),
  ...each(['stosb', 'stosv'], string('str_stos')),
  ...each(['lodsb', 'lodsv'], string('str_lods')),
  ...each(['scasb', 'scasv'], string('str_scas')),
  ...each(['insb', 'insv'], string('str_ins')),
  ...each(['outsb', 'outsv'], string('str_outs')),
  ...each(['in_al_imm8', 'in_eAX_imm8', 'in_al_dx', 'in_eAX_dx'], input),
  ...each(['out_imm8_al', 'out_imm8_eAX', 'out_dx_al', 'out_dx_eAX'], output),
}
