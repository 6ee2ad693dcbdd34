/**
 * What an operand string of a row means: where it lives in a decoded record and what type read() and write() use.
 * The table compiler, the emitters and the tests share it, so that they cannot disagree.
 *
 *   place       record fields                          read() gives / write() takes
 *   rm          REC_RM, or the memory operand          integer of `bits` (vectors: see below)
 *   reg         REC_REG (ModRM.reg or opcode bits)     the same
 *   vvvv        REC_VVVV                               v128, or integer of `bits` (v32, v64, vy)
 *   is4         REC_IMM, the register's offset          v128
 *   vsib        base, index (a vector register), …      only vsib()
 *   mem         base, index, scale, disp, seg          integer or v128 of `bits`; m80, far pointers: use linear() and load()
 *   moffs       REC_IMM is the offset, plus seg        integer of `bits`
 *   imm         REC_IMM (a second immediate: REC_DISP) integer of the operand size (imm8, imm16: their own), extended by the decoder
 *   ptr         REC_IMM = selector << 32 | offset      that i64
 *   rel         REC_IMM = target relative to the page  (only branchRel() uses it)
 *   fixed       none                                   integer of `bits`
 *   number      REC_REG holds the register number      i32 number (sreg, creg, dreg); addressOf() of an sreg is its CPU_SEG slot
 *   st          REC_RM holds i of ST(i); st0: none     i32 i (0 for st0)
 *
 * Vector operands: xmm and xmm_m128 are v128; xmm_m16/m32/m64 are i16/i32/i64 (the low lane of the register, or memory);
 * ymm and ymm_m256 read and write as v128, their low half; readHigh() and writeHigh() reach the upper half of a register.
 * mm and mm_m64 are i64. write() of a scalar to a vector register keeps the lanes above it.
 */
import type { IntTy, Ty } from './emit.ts'
import type { Operand, Row } from './row.ts'

export type Access = 'r' | 'w' | 'rw' | 'n'
export type Place =
  | 'rm'
  | 'reg'
  | 'vvvv'
  | 'is4'
  | 'vsib'
  | 'mem'
  | 'moffs'
  | 'imm'
  | 'ptr'
  | 'rel'
  | 'fixed'
  | 'number'
  | 'st'
export type Bank = 'gpr' | 'xmm' | 'mm' | 'x87' | 'none'

export interface OperandInfo {
  readonly access: Access
  readonly place: Place
  /** The place without its access prefix, as written in the row. */
  readonly text: string
  readonly bank: Bank
  /** Bits that read() and write() move; 0 where the operand is only an address. */
  readonly bits: number
  readonly ty: Ty
  /** Fixed general register number, or the constant of `one`. */
  readonly fixed?: number
}

/** The instruction has a memory form that reaches memory through ModRM or moffs. */
export const INT_TY = { 8: 'i8', 16: 'i16', 32: 'i32', 64: 'i64' } as const satisfies Record<number, IntTy>

const FIXED: Readonly<Record<string, readonly [register: number, bits: number]>> = {
  al: [0, 8],
  cl: [1, 8],
  dl: [2, 8],
  bl: [3, 8],
  ax: [0, 16],
  cx: [1, 16],
  dx: [2, 16],
  bx: [3, 16],
  eax: [0, 32],
  ecx: [1, 32],
  edx: [2, 32],
  ebx: [3, 32],
  rax: [0, 64],
  rcx: [1, 64],
  rdx: [2, 64],
  rbx: [3, 64],
}

/** Segment registers named by the opcode: for the printer and the encoder; semantic functions know them. */
const SEGMENTS: Readonly<Record<string, number>> = { es: 0, cs: 1, ss: 2, ds: 3, fs: 4, gs: 5 }

function intTy(bits: number): Ty {
  return bits === 8 ? 'i8' : bits === 16 ? 'i16' : bits === 32 ? 'i32' : bits >= 128 ? 'v128' : 'i64'
}

function sizeOf(suffix: string, width: number): number {
  if (suffix === 'v' || suffix === 'z' || suffix === '') return width
  if (suffix === 'y') return width === 64 ? 64 : 32
  const bits = Number(suffix)
  return Number.isInteger(bits) ? bits : 0
}

/** Parses one operand of a row for an instance of the given width. Throws on a spelling that row.ts does not list. */
export function operandInfo(operand: Operand, width: number): OperandInfo {
  const split = /^(rw|r|w|n):(.+)$/.exec(operand)
  const access = (split?.[1] ?? 'r') as Access
  const text = split?.[2] ?? operand
  const info = (place: Place, bank: Bank, bits: number, fixed?: number): OperandInfo =>
    fixed === undefined
      ? { access, place, text, bank, bits, ty: intTy(bits) }
      : { access, place, text, bank, bits, ty: intTy(bits), fixed }

  const fixed = FIXED[text]
  if (fixed) return info('fixed', 'gpr', fixed[1], fixed[0])
  let m: RegExpExecArray | null
  if (text === 'ah') return info('fixed', 'gpr', 8, 4)
  if (text in SEGMENTS) return info('fixed', 'none', 16, SEGMENTS[text])
  if (text === 'xmm0') return info('fixed', 'xmm', 128, 0)
  if (text === 'rAXv' || text === 'rAX') return info('fixed', 'gpr', width, 0)
  if (text === 'one') return info('imm', 'none', 8, 1)
  if (text === 'sreg' || text === 'creg' || text === 'dreg') return info('number', 'none', 32)
  if (text === 'st0') return info('st', 'x87', 32, 0)
  if (text === 'sti') return info('st', 'x87', 32)
  if (text === 'xmm_r') return info('reg', 'xmm', 128)
  if (text === 'xmm_v') return info('vvvv', 'xmm', 128)
  if (text === 'xmm_is4' || text === 'ymm_is4') return info('is4', 'xmm', text === 'ymm_is4' ? 256 : 128)
  if (text === 'ymm_r') return info('reg', 'xmm', 256)
  if (text === 'ymm_v') return info('vvvv', 'xmm', 256)
  if (text === 'ymm' || text === 'ymm_m256') return info('rm', 'xmm', 256)
  if (/^vm(32|64)[xy]$/.test(text)) return info('vsib', 'none', 0)
  m = /^v(32|64|y)$/.exec(text)
  if (m) return info('vvvv', 'gpr', sizeOf(m[1] ?? '', width))
  if (text === 'xmm') return info('rm', 'xmm', 128)
  if (text === 'mm_r') return info('reg', 'mm', 64)
  if (text === 'mm') return info('rm', 'mm', 64)
  m = /^xmm_m(8|16|32|64|128)$/.exec(text)
  if (m) return info('rm', 'xmm', Number(m[1]))
  m = /^mm_m(32|64)$/.exec(text)
  if (m) return info('rm', 'mm', Number(m[1]))
  if (/^rel(8|16|32|z)$/.test(text)) return info('rel', 'none', 64)
  if (text.startsWith('ptr16')) return info('ptr', 'none', 64)
  m = /^moffs(8|16|32|64|v)$/.exec(text)
  if (m) return info('moffs', 'none', sizeOf(m[1] ?? '', width))
  m = /^(?:s?imm)(8|16|32|64|v|z)$/.exec(text)
  if (m) {
    const own = m[1] === '8' || m[1] === '16' ? Number(m[1]) : width
    return info('imm', 'none', text.startsWith('simm') ? width : own)
  }
  m = /^rm(8|16|32|64|v|y)$/.exec(text)
  if (m) return info('rm', 'gpr', sizeOf(m[1] ?? '', width))
  // A register only form: ry/mod=3 is written R…; mixed sizes as r32_m16 (register 32, memory 16) are written rm32 with a narrower read.
  m = /^R(8|16|32|64|v|y)?$/.exec(text)
  if (m) return info('rm', 'gpr', sizeOf(m[1] ?? '', width))
  m = /^r(8|16|32|64|v|y)$/.exec(text)
  if (m) return info('reg', 'gpr', sizeOf(m[1] ?? '', width))
  m = /^o(8|16|32|64|v|y)$/.exec(text)
  if (m) return info('reg', 'gpr', sizeOf(m[1] ?? '', width))
  m = /^m(8|16|32|64|128|256|v|y)$/.exec(text)
  if (m) return info('mem', 'none', sizeOf(m[1] ?? '', width))
  if (/^m(80|512|di|bx|\d+byte|16:.+|.*&.*)?$/.test(text)) return info('mem', 'none', 0)
  throw new Error(`row operand "${operand}" has a spelling that row.ts does not list`)
}

/** Which forms ModRM.rm of this row can take. */
export function operandForms(row: Row): { readonly register: boolean; readonly memory: boolean } {
  let register = true
  let memory = false
  for (const operand of row.operands) {
    const info = operandInfo(operand, row.widths[0] ?? 0)
    if (info.place === 'mem' || info.place === 'moffs' || info.place === 'vsib') {
      register = false
      memory = true
    } else if (
      info.place === 'rm' &&
      info.text !== 'xmm' &&
      info.text !== 'ymm' &&
      info.text !== 'mm' &&
      !info.text.startsWith('R')
    ) {
      memory = true
    }
  }
  if (/\bmod=3\b|\b11B\b/.test(row.op)) return { register: true, memory: false }
  return { register, memory }
}
