/**
 * The shape of an instruction row: one line of the manual (SDM Vol. 2, opcode table of each instruction).
 * Rows live in rows/<family>.ts; the semantic function of the same id lives in semantics/<family>.ts.
 * Every column that an engine, a decoder or a test needs is here; absence always means "none" or "unchanged".
 *
 *   add_rmv_rv: row('add', '01 /r', ['rw:rmv', 'r:rv'], 'r=- w=oszapc u=- 0=- 1=-', { lock: true }),
 *
 * Opcode column `op`, in the manual's notation, tokens separated by blanks:
 *   NP 66 F3 F2     mandatory prefix: NP = none of the three; NFx = neither F2 nor F3 (66 stays the operand size);
 *                   without such a token all of them are accepted and ignored, 66 being the operand size
 *   REX.W W0        only with / only without REX.W         REX.B0 REX.B1   only without / with REX.B
 *   A16 A32 A64     only with this address size
 *   0F, 0F 38, 0F 3A, opcode byte, with +r for a register in its low 3 bits ("50+r"; "91+r" means 91..97)
 *   /r, /0../7      ModRM follows; reg is an operand, or this digit; then "mod=3", "mod=m" (memory) or "mod=any" (mod is ignored)
 *   D9 F0           a second fixed byte is a whole ModRM byte; C0+r after the opcode is ModRM C0..C7 ("D8 C0+r")
 *   ib iw id io cb cw cd cp moffs …   for the reader only: what follows is derived from the operands
 *   VEX.128.66.0F38.W0 F7 /r   VEX rows: L is 128 256 LZ LIG; prefix NP 66 F3 F2; map; W0 W1 WIG
 *
 * Where two rows accept the same bytes the more specific one wins (F3 90 PAUSE before 90 NOP); the row tests
 * prove that no other overlap exists. A row whose feature is absent does not exist, so TZCNT decodes as BSF.
 */
import type { FeatureName } from './features.ts'

export type FlagName =
  | 'cf'
  | 'pf'
  | 'af'
  | 'zf'
  | 'sf'
  | 'of'
  | 'df'
  | 'if'
  | 'tf'
  | 'ac'
  | 'id'
  | 'iopl'
  | 'nt'
  | 'rf'
  | 'vm'
export type Width = 8 | 16 | 32 | 64 | 0
export type Access = 'r' | 'w' | 'rw' | 'n'

/**
 * Places. b, 16, 32, 64 fixed sizes; v = 16/32/64 by operand size; y = 32/64 by REX.W.
 *   rm*   ModRM.rm, register or memory          R*   ModRM.rm, register only        m*  ModRM.rm, memory only
 *   r*    ModRM.reg                             o*   register in the opcode byte    v*  VEX.vvvv
 *   m     memory of a size the row's semantic function knows; m16:v far pointer in memory
 *   imm8 imm16 immv   zero-extended to the operand size; immz = imm16/32 sign-extended to v; simm8 = imm8 sign-extended
 *                     a second immediate (ENTER) is a second imm8 operand
 *   ptr16:v           far pointer in the instruction, read as i64 offset | selector << 32
 *   mdi mbx           memory at DS:rDI, DS:rBX (MASKMOVQ, XLAT); no ModRM
 *   moffs8 moffsv     memory at an absolute offset in the instruction; no ModRM
 *   one               the constant 1, not encoded
 *   al … rAXv         fixed registers
 *   xmm_m32 …         ModRM.rm, vector register or memory; xmm ModRM.rm register only; xmm_r ModRM.reg; xmm_v VEX.vvvv
 *   ymm_m256 ymm ymm_r ymm_v   the same of 32 bytes; xmm_is4 ymm_is4   register in bits 7:4 of an immediate byte
 *   vm32x vm32y vm64x vm64y   memory addressed by 32- or 64-bit indexes in an xmm or ymm register (VSIB)
 *   mm_m64, mm, mm_r  the same for MMX; st0, sti: x87 stack; sreg creg dreg: ModRM.reg
 */
// prettier-ignore
export const PLACES = [
  'rm8', 'rm16', 'rm32', 'rm64', 'rmv', 'rmy', 'R8', 'R16', 'R32', 'R64', 'Rv', 'Ry',
  'r8', 'r16', 'r32', 'r64', 'rv', 'ry', 'o8', 'ov', 'oy', 'v32', 'v64', 'vy',
  'm', 'm8', 'm16', 'm32', 'm64', 'm80', 'm128', 'm256', 'mv', 'my', 'm16:v', 'mdi', 'mbx',
  'vm32x', 'vm32y', 'vm64x', 'vm64y',
  'imm8', 'imm16', 'imm32', 'immv', 'immz', 'simm8', 'ptr16:v', 'moffs8', 'moffsv', 'one', 'rel8', 'relz',
  'al', 'ah', 'ax', 'eax', 'rax', 'rAXv', 'cl', 'cx', 'ecx', 'rcx', 'dx', 'edx', 'xmm0',
  'xmm', 'xmm_m8', 'xmm_m16', 'xmm_m32', 'xmm_m64', 'xmm_m128', 'xmm_r', 'xmm_v', 'xmm_is4',
  'ymm', 'ymm_m256', 'ymm_r', 'ymm_v', 'ymm_is4', 'mm', 'mm_m32', 'mm_m64', 'mm_r',
  'st0', 'sti', 'sreg', 'creg', 'dreg', 'es', 'cs', 'ss', 'ds', 'fs', 'gs',
] as const
export type Place = (typeof PLACES)[number]
export type Operand = `${Access}:${Place}`

/**
 * Flag columns: read, written by the result, undefined afterwards (tests mask them), cleared, set. '-' = none.
 * o s z a p c as in the manual, then d DF, i IF, t TF, k AC, y ID, l IOPL, n NT, f RF, m VM.
 */
export type FlagsText = `r=${string} w=${string} u=${string} 0=${string} 1=${string}`

export interface FlagColumns {
  readonly r: readonly FlagName[]
  readonly w: readonly FlagName[]
  readonly u: readonly FlagName[]
  readonly cleared: readonly FlagName[]
  readonly set: readonly FlagName[]
}

export type Fault =
  | 'DE'
  | 'DB'
  | 'BP'
  | 'OF'
  | 'BR'
  | 'UD'
  | 'NM'
  | 'TS'
  | 'NP'
  | 'SS'
  | 'GP'
  | 'PF'
  | 'MF'
  | 'AC'
  | 'XM'

export interface Row {
  /** Unique: mnemonic and operand shape, e.g. add_rmv_rv. Also the key of its semantic function. */
  readonly id: string
  readonly mnemonic: string
  readonly op: string
  readonly operands: readonly Operand[]
  /** Operand sizes to instantiate; [0] = the row has none. */
  readonly widths: readonly Width[]
  /** 'both', 'legacy' (invalid in 64-bit code), 'long' (only in 64-bit code). */
  readonly modes: 'both' | 'legacy' | 'long'
  /** #UD in real and virtual-8086 mode. */
  readonly protectedOnly?: true
  /** Operand size in 64-bit code: 'rex' = 32 unless REX.W or 66; 'd64' = 64 unless 66; 'f64' = always 64. */
  readonly osize: 'rex' | 'd64' | 'f64'
  readonly feature: FeatureName
  readonly flags: FlagColumns
  /** LOCK is allowed with a memory destination. */
  readonly lock: boolean
  /** Accepts REP/REPNE as a repeat. */
  readonly rep: boolean
  /** The block ends after it: control transfer, or a change of anything that decoding depends on. */
  readonly ends: boolean
  /** Vectors it can raise besides memory operand faults. */
  readonly faults: readonly Fault[]
  /** Manual heading. */
  readonly cite: string
  /** A second encoding of another row (82 /0 for 80 /0): decoded, never chosen by an assembler. */
  readonly alias?: boolean
}

export type RowOptions = Partial<
  Pick<
    Row,
    | 'widths'
    | 'modes'
    | 'protectedOnly'
    | 'osize'
    | 'feature'
    | 'lock'
    | 'rep'
    | 'ends'
    | 'faults'
    | 'cite'
    | 'alias'
  >
>
export type RowSpec = Omit<Row, 'id'>

// prettier-ignore
const FLAG_LETTERS: Readonly<Record<string, FlagName>> = {
  o: 'of', s: 'sf', z: 'zf', a: 'af', p: 'pf', c: 'cf', d: 'df', i: 'if', t: 'tf', k: 'ac', y: 'id', l: 'iopl', n: 'nt', f: 'rf', m: 'vm',
}

export function parseFlags(text: FlagsText): FlagColumns {
  const match = /^r=(\S+) w=(\S+) u=(\S+) 0=(\S+) 1=(\S+)$/.exec(text)
  if (!match) throw new Error(`flag columns '${text}'`)
  const column = (letters: string): FlagName[] => {
    if (letters === '-') return []
    return Array.from(letters, (letter) => {
      const name = FLAG_LETTERS[letter]
      if (!name) throw new Error(`flag letter '${letter}' in '${text}'`)
      return name
    })
  }
  const [r, w, u, cleared, set] = match.slice(1).map(column) as [
    FlagName[],
    FlagName[],
    FlagName[],
    FlagName[],
    FlagName[],
  ]
  return { r, w, u, cleared, set }
}

/** The common flag columns, named. */
export const NO_FLAGS = 'r=- w=- u=- 0=- 1=-' satisfies FlagsText
export const ARITH_FLAGS = 'r=- w=oszapc u=- 0=- 1=-' satisfies FlagsText
export const LOGIC_FLAGS = 'r=- w=szp u=a 0=oc 1=-' satisfies FlagsText

/** Widths that follow from the operands: v, y, or the size of the first operand that has one. */
function widthsOf(operands: readonly Operand[]): readonly Width[] {
  const places = operands.map(placeOf)
  if (
    places.some((place) =>
      /^(rmv|Rv|rv|ov|mv|m16:v|imm[vz]|simm8|ptr16:v|moffsv|rAXv|rel8|relz)$/.test(place),
    )
  )
    return [16, 32, 64]
  if (places.some((place) => /^(rmy|Ry|ry|oy|vy|my)$/.test(place))) return [32, 64]
  for (const place of places) {
    const size = /^(?:rm|R|r|o|v|m|moffs)(8|16|32|64)$/.exec(place)
    if (size) return [Number(size[1]) as Width]
    if (place === 'al') return [8]
    if (place === 'ax') return [16]
    if (place === 'eax') return [32]
  }
  return [0]
}

/** One line of a family file. */
export function row(
  mnemonic: string,
  op: string,
  operands: readonly Operand[],
  flags: FlagsText,
  rest: RowOptions = {},
): RowSpec {
  return {
    mnemonic,
    op,
    operands,
    widths: widthsOf(operands),
    modes: 'both',
    osize: 'rex',
    feature: 'base',
    flags: parseFlags(flags),
    lock: false,
    rep: false,
    ends: false,
    faults: [],
    cite: `SDM Vol. 2, ${mnemonic.toUpperCase()}`,
    ...rest,
  }
}

/** Gives every row of a family its id, the key it stands under. */
export function defineRows<T extends Readonly<Record<string, RowSpec>>>(
  specs: T,
): { readonly [Id in keyof T]: Row } {
  const rows: Record<string, Row> = {}
  for (const [id, spec] of Object.entries(specs)) rows[id] = { id, ...spec }
  return rows as { [Id in keyof T]: Row }
}

export function accessOf(operand: Operand): Access {
  return operand.slice(0, operand.indexOf(':')) as Access
}

export function placeOf(operand: Operand): Place {
  return operand.slice(operand.indexOf(':') + 1) as Place
}

/** Condition codes in encoding order (SDM Vol. 1, Appendix B) with the flags each one reads. */
// prettier-ignore
export const CONDITIONS = [
  ['o', 'o'], ['no', 'o'], ['b', 'c'], ['ae', 'c'], ['e', 'z'], ['ne', 'z'], ['be', 'cz'], ['a', 'cz'],
  ['s', 's'], ['ns', 's'], ['p', 'p'], ['np', 'p'], ['l', 'so'], ['ge', 'so'], ['le', 'zso'], ['g', 'zso'],
] as const
export type ConditionName = (typeof CONDITIONS)[number][0]
