/**
 * x87: opcodes D8 to DF (SDM Vol. 1, chapter 8; Vol. 2, the F headings; opcode maps of Vol. 2, Appendix A.5).
 * None has a mandatory prefix. The aliases that the 8087 left behind (FCOM at DC D0 and so on) decode as on hardware.
 */
import { defineRows, type FlagsText, type Operand, type RowSpec, type Fault, type RowOptions } from '../row.ts'
import { vector } from './vector-row.ts'

const WAITING: readonly Fault[] = ['NM', 'MF']
const NO_WAIT: readonly Fault[] = ['NM']

function fp(mnemonic: string, op: string, operands: readonly Operand[], more: RowOptions & { flags?: FlagsText } = {}): RowSpec {
  return vector(mnemonic, op, operands, 'fpu', { widths: [0], faults: WAITING, ...more })
}

const ARITH = ['fadd', 'fmul', 'fcom', 'fcomp', 'fsub', 'fsubr', 'fdiv', 'fdivr'] as const
const integerName = (name: string): string => `fi${name.slice(1)}`
/** DC and DE exchange the roles of SUB and SUBR, DIV and DIVR in their register forms. */
const REVERSED = ['fadd', 'fmul', 'fcom', 'fcomp', 'fsubr', 'fsub', 'fdivr', 'fdiv'] as const

/** One row per ModRM digit: the eight arithmetic instructions with a memory or register source. */
function arith(suffix: string, op: (digit: number) => string, operands: readonly Operand[], names: readonly string[]): Record<string, RowSpec> {
  return Object.fromEntries(names.map((name, digit) => [`${name}_${suffix}`, fp(name, op(digit), operands)]))
}

const I_FLAGS = 'r=- w=zpc u=- 0=osa 1=-' satisfies FlagsText
const alias = true
const noWait = { faults: NO_WAIT }
/** FNSTENV and friends: 14 or 28, 94 or 108 bytes by operand size. */
const byOperandSize = { widths: [16, 32, 64] } as const
const LONG_TAIL = ['rw:sti', 'r:st0'] as const

// prettier-ignore
export const x87Rows = defineRows<Record<string, RowSpec>>({
  ...arith('m32', (digit) => `D8 /${digit}`, ['r:m32'], ARITH),
  ...arith('st0_sti', (digit) => `D8 /${digit} mod=3`, ['rw:st0', 'r:sti'], ARITH),
  ...arith('m64', (digit) => `DC /${digit}`, ['r:m64'], ARITH),
  ...arith('m32int', (digit) => `DA /${digit}`, ['r:m32'], ARITH.map(integerName)),
  ...arith('m16int', (digit) => `DE /${digit}`, ['r:m16'], ARITH.map(integerName)),
  ...Object.fromEntries(REVERSED.flatMap((name, digit) => digit === 2 || digit === 3 ? [] : [
    [`${name}_sti_st0`, fp(name, `DC /${digit} mod=3`, LONG_TAIL)],
    [`${name}p_sti_st0`, fp(`${name}p`, `DE /${digit} mod=3`, LONG_TAIL)],
  ])),
  fcom_sti_dc:     fp('fcom', 'DC /2 mod=3', ['r:st0', 'r:sti'], { alias }),
  fcomp_sti_dc:    fp('fcomp', 'DC /3 mod=3', ['r:st0', 'r:sti'], { alias }),
  fcomp_sti_de:    fp('fcomp', 'DE /2 mod=3', ['r:st0', 'r:sti'], { alias }),
  fcompp:          fp('fcompp', 'DE D9', []),

  fld_m32:         fp('fld', 'D9 /0', ['r:m32']),
  fld_m64:         fp('fld', 'DD /0', ['r:m64']),
  fld_m80:         fp('fld', 'DB /5', ['r:m80']),
  fld_sti:         fp('fld', 'D9 /0 mod=3', ['r:sti']),
  fild_m16:        fp('fild', 'DF /0', ['r:m16']),
  fild_m32:        fp('fild', 'DB /0', ['r:m32']),
  fild_m64:        fp('fild', 'DF /5', ['r:m64']),
  fbld_m80:        fp('fbld', 'DF /4', ['r:m80']),
  fst_m32:         fp('fst', 'D9 /2', ['w:m32']),
  fst_m64:         fp('fst', 'DD /2', ['w:m64']),
  fst_sti:         fp('fst', 'DD /2 mod=3', ['w:sti']),
  fstp_m32:        fp('fstp', 'D9 /3', ['w:m32']),
  fstp_m64:        fp('fstp', 'DD /3', ['w:m64']),
  fstp_m80:        fp('fstp', 'DB /7', ['w:m80']),
  fstp_sti:        fp('fstp', 'DD /3 mod=3', ['w:sti']),
  fstp_sti_d9:     fp('fstp', 'D9 /3 mod=3', ['w:sti'], { alias }),
  fstp_sti_df2:    fp('fstp', 'DF /2 mod=3', ['w:sti'], { alias }),
  fstp_sti_df3:    fp('fstp', 'DF /3 mod=3', ['w:sti'], { alias }),
  fist_m16:        fp('fist', 'DF /2', ['w:m16']),
  fist_m32:        fp('fist', 'DB /2', ['w:m32']),
  fistp_m16:       fp('fistp', 'DF /3', ['w:m16']),
  fistp_m32:       fp('fistp', 'DB /3', ['w:m32']),
  fistp_m64:       fp('fistp', 'DF /7', ['w:m64']),
  fisttp_m16:      fp('fisttp', 'DF /1', ['w:m16'], { feature: 'sse3' }),
  fisttp_m32:      fp('fisttp', 'DB /1', ['w:m32'], { feature: 'sse3' }),
  fisttp_m64:      fp('fisttp', 'DD /1', ['w:m64'], { feature: 'sse3' }),
  fbstp_m80:       fp('fbstp', 'DF /6', ['w:m80']),
  fxch_sti:        fp('fxch', 'D9 /1 mod=3', ['rw:sti']),
  fxch_sti_dd:     fp('fxch', 'DD /1 mod=3', ['rw:sti'], { alias }),
  fxch_sti_df:     fp('fxch', 'DF /1 mod=3', ['rw:sti'], { alias }),
  ffree_sti:       fp('ffree', 'DD /0 mod=3', ['w:sti']),
  ffreep_sti:      fp('ffreep', 'DF /0 mod=3', ['w:sti']),
  fcmovb_st0_sti:  fp('fcmovb', 'DA /0 mod=3', ['w:st0', 'r:sti'], { feature: 'cmov', flags: 'r=c w=- u=- 0=- 1=-' }),
  fcmove_st0_sti:  fp('fcmove', 'DA /1 mod=3', ['w:st0', 'r:sti'], { feature: 'cmov', flags: 'r=z w=- u=- 0=- 1=-' }),
  fcmovbe_st0_sti: fp('fcmovbe', 'DA /2 mod=3', ['w:st0', 'r:sti'], { feature: 'cmov', flags: 'r=cz w=- u=- 0=- 1=-' }),
  fcmovu_st0_sti:  fp('fcmovu', 'DA /3 mod=3', ['w:st0', 'r:sti'], { feature: 'cmov', flags: 'r=p w=- u=- 0=- 1=-' }),
  fcmovnb_st0_sti: fp('fcmovnb', 'DB /0 mod=3', ['w:st0', 'r:sti'], { feature: 'cmov', flags: 'r=c w=- u=- 0=- 1=-' }),
  fcmovne_st0_sti: fp('fcmovne', 'DB /1 mod=3', ['w:st0', 'r:sti'], { feature: 'cmov', flags: 'r=z w=- u=- 0=- 1=-' }),
  fcmovnbe_st0_sti: fp('fcmovnbe', 'DB /2 mod=3', ['w:st0', 'r:sti'], { feature: 'cmov', flags: 'r=cz w=- u=- 0=- 1=-' }),
  fcmovnu_st0_sti: fp('fcmovnu', 'DB /3 mod=3', ['w:st0', 'r:sti'], { feature: 'cmov', flags: 'r=p w=- u=- 0=- 1=-' }),
  fucom_sti:       fp('fucom', 'DD /4 mod=3', ['r:sti']),
  fucomp_sti:      fp('fucomp', 'DD /5 mod=3', ['r:sti']),
  fucompp:         fp('fucompp', 'DA E9', []),
  fucomi_st0_sti:  fp('fucomi', 'DB /5 mod=3', ['r:st0', 'r:sti'], { feature: 'cmov', flags: I_FLAGS }),
  fcomi_st0_sti:   fp('fcomi', 'DB /6 mod=3', ['r:st0', 'r:sti'], { feature: 'cmov', flags: I_FLAGS }),
  fucomip_st0_sti: fp('fucomip', 'DF /5 mod=3', ['r:st0', 'r:sti'], { feature: 'cmov', flags: I_FLAGS }),
  fcomip_st0_sti:  fp('fcomip', 'DF /6 mod=3', ['r:st0', 'r:sti'], { feature: 'cmov', flags: I_FLAGS }),
  ftst:            fp('ftst', 'D9 E4', []),
  fxam:            fp('fxam', 'D9 E5', []),

  fnop:            fp('fnop', 'D9 D0', []),
  fchs:            fp('fchs', 'D9 E0', []),
  fabs:            fp('fabs', 'D9 E1', []),
  fld1:            fp('fld1', 'D9 E8', []),
  fldl2t:          fp('fldl2t', 'D9 E9', []),
  fldl2e:          fp('fldl2e', 'D9 EA', []),
  fldpi:           fp('fldpi', 'D9 EB', []),
  fldlg2:          fp('fldlg2', 'D9 EC', []),
  fldln2:          fp('fldln2', 'D9 ED', []),
  fldz:            fp('fldz', 'D9 EE', []),
  f2xm1:           fp('f2xm1', 'D9 F0', []),
  fyl2x:           fp('fyl2x', 'D9 F1', []),
  fptan:           fp('fptan', 'D9 F2', []),
  fpatan:          fp('fpatan', 'D9 F3', []),
  fxtract:         fp('fxtract', 'D9 F4', []),
  fprem1:          fp('fprem1', 'D9 F5', []),
  fdecstp:         fp('fdecstp', 'D9 F6', []),
  fincstp:         fp('fincstp', 'D9 F7', []),
  fprem:           fp('fprem', 'D9 F8', []),
  fyl2xp1:         fp('fyl2xp1', 'D9 F9', []),
  fsqrt:           fp('fsqrt', 'D9 FA', []),
  fsincos:         fp('fsincos', 'D9 FB', []),
  frndint:         fp('frndint', 'D9 FC', []),
  fscale:          fp('fscale', 'D9 FD', []),
  fsin:            fp('fsin', 'D9 FE', []),
  fcos:            fp('fcos', 'D9 FF', []),

  fwait:           fp('fwait', '9B', []),
  fninit:          fp('fninit', 'DB E3', [], noWait),
  fnclex:          fp('fnclex', 'DB E2', [], noWait),
  // 8087 and 287 control instructions that later processors accept and ignore
  fneni:           fp('fneni', 'DB E0', [], noWait),
  fndisi:          fp('fndisi', 'DB E1', [], noWait),
  fnsetpm:         fp('fnsetpm', 'DB E4', [], noWait),
  fldcw_m16:       fp('fldcw', 'D9 /5', ['r:m16']),
  fnstcw_m16:      fp('fnstcw', 'D9 /7', ['w:m16'], noWait),
  fnstsw_m16:      fp('fnstsw', 'DD /7', ['w:m16'], noWait),
  fnstsw_ax:       fp('fnstsw', 'DF E0', ['w:ax'], noWait),
  fldenv_m:        fp('fldenv', 'D9 /4', ['r:m'], byOperandSize),
  fnstenv_m:       fp('fnstenv', 'D9 /6', ['w:m'], { ...byOperandSize, ...noWait }),
  frstor_m:        fp('frstor', 'DD /4', ['r:m'], byOperandSize),
  fnsave_m:        fp('fnsave', 'DD /6', ['w:m'], { ...byOperandSize, ...noWait }),
})
