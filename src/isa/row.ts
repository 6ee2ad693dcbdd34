/**
 * The shape of an instruction row: one line of the manual (SDM Vol. 2, opcode table of each instruction).
 * Rows live in rows/<family>.ts; the semantic function of the same id lives in semantics/<family>.ts.
 * Every column that an engine, a decoder or a test needs is here; absence always means "none" or "unchanged".
 *
 * Opcode column `op`, in the manual's notation:
 *   [NP|66|F3|F2] [REX.W|W0] [0F | 0F 38 | 0F 3A] opcode-byte[+r] [/r | /0../7 | /0 mod=3 | modrm byte "D9 F0"] [ib|iw|id|io|cb|cw|cd|cp|moffs]
 *   VEX rows start with "VEX.128.66.0F38.W0" as in the manual.
 * Width column: a row whose operands are 'v' (16/32/64 by prefix) or 'b' is instantiated once per width.
 */
export type FlagName = 'cf' | 'pf' | 'af' | 'zf' | 'sf' | 'of' | 'df' | 'if' | 'tf' | 'ac' | 'id' | 'iopl' | 'nt' | 'rf' | 'vm'

/**
 * Operand: access ':' place. access r, w, rw, or n (address only, LEA, or not accessed).
 *   rm8 rm16 rm32 rm64 rmv   ModRM.rm, register or memory          rmy = 32 or 64 by REX.W (no 16)
 *   r8 r16 r32 r64 rv ry     ModRM.reg                              ov o8 = register in the opcode byte
 *   m m8 m16 m32 m64 m80 m128 mv m16:v  memory only                  R = register form only (rv/ry by mod=3)
 *   imm8 imm16 imm32 immv immz (imm sign-extended to v), simm8 (imm8 sign-extended to v)   one = constant 1
 *   rel8 relz                branch displacement
 *   al ax eax rax rAXv cl dx ecx …  fixed registers
 *   xmm xmm_m32 xmm_m64 xmm_m128 (ModRM.rm)  xmm_r (ModRM.reg)  xmm_v (VEX.vvvv)  mm mm_m64 mm_r  st0 sti
 *   sreg creg dreg moffs8 moffsv ptr16:v
 */
export type Operand = string

export interface Row {
  /** Unique: mnemonic and operand shape, e.g. add_rmv_rv. Also the key of its semantic function. */
  readonly id: string
  readonly mnemonic: string
  readonly op: string
  readonly operands: readonly Operand[]
  /** Width classes to instantiate: 'b' = 8, 'v' = 16|32|64, 'y' = 32|64, number = fixed, 0 = no operand size. */
  readonly widths: readonly (8 | 16 | 32 | 64 | 0)[]
  /** 'both', 'legacy' (invalid in 64-bit code), 'long' (only in 64-bit code). */
  readonly modes: 'both' | 'legacy' | 'long'
  /** Operand size in 64-bit code: 'rex' = 32 unless REX.W; 'd64' = 64 unless 66; 'f64' = always 64. */
  readonly osize: 'rex' | 'd64' | 'f64'
  readonly feature: string
  readonly flags: {
    readonly r: readonly FlagName[]
    readonly w: readonly FlagName[]
    /** Undefined after the instruction: tests mask them. */
    readonly u: readonly FlagName[]
    readonly cleared: readonly FlagName[]
    readonly set: readonly FlagName[]
  }
  readonly lock: boolean
  /** Accepts REP/REPNE as a repeat. */
  readonly rep: boolean
  /** The block ends after it: control transfer, or a change of anything that decoding depends on. */
  readonly ends: boolean
  /** Vectors it can raise besides memory operand faults: 'DE' 'GP' 'UD' 'NM' 'MF' 'XM' … */
  readonly faults: readonly string[]
  /** SDM heading. */
  readonly cite: string
}
