/**
 * Packed integer instructions of two operands, dst = op(dst, src): one line gives the MMX form (NP prefix, mm, mm/m64)
 * and the XMM form (66 prefix, xmm, xmm/m128), because the semantics are one function for both (semantics/packed.ts).
 * SDM Vol. 2, heading of each mnemonic.
 *
 * Columns: mnemonic, opcode, feature of the MMX form ('' = none), feature of the XMM form.
 */
import { defineRows, type RowSpec } from '../row.ts'
import type { FeatureName } from '../features.ts'
import { ALIGNED_FAULTS, mmx, sse } from './vector-row.ts'

// prettier-ignore
export const PACKED: readonly (readonly [mnemonic: string, opcode: string, mm: FeatureName | '', xmm: FeatureName])[] = [
  ['punpcklbw',  '0F 60', 'mmx', 'sse2'],
  ['punpcklwd',  '0F 61', 'mmx', 'sse2'],
  ['punpckldq',  '0F 62', 'mmx', 'sse2'],
  ['packsswb',   '0F 63', 'mmx', 'sse2'],
  ['pcmpgtb',    '0F 64', 'mmx', 'sse2'],
  ['pcmpgtw',    '0F 65', 'mmx', 'sse2'],
  ['pcmpgtd',    '0F 66', 'mmx', 'sse2'],
  ['packuswb',   '0F 67', 'mmx', 'sse2'],
  ['punpckhbw',  '0F 68', 'mmx', 'sse2'],
  ['punpckhwd',  '0F 69', 'mmx', 'sse2'],
  ['punpckhdq',  '0F 6A', 'mmx', 'sse2'],
  ['packssdw',   '0F 6B', 'mmx', 'sse2'],
  ['punpcklqdq', '0F 6C', '',    'sse2'],
  ['punpckhqdq', '0F 6D', '',    'sse2'],
  ['pcmpeqb',    '0F 74', 'mmx', 'sse2'],
  ['pcmpeqw',    '0F 75', 'mmx', 'sse2'],
  ['pcmpeqd',    '0F 76', 'mmx', 'sse2'],
  ['psrlw',      '0F D1', 'mmx', 'sse2'],
  ['psrld',      '0F D2', 'mmx', 'sse2'],
  ['psrlq',      '0F D3', 'mmx', 'sse2'],
  ['paddq',      '0F D4', 'sse2', 'sse2'],
  ['pmullw',     '0F D5', 'mmx', 'sse2'],
  ['psubusb',    '0F D8', 'mmx', 'sse2'],
  ['psubusw',    '0F D9', 'mmx', 'sse2'],
  ['pminub',     '0F DA', 'sse', 'sse2'],
  ['pand',       '0F DB', 'mmx', 'sse2'],
  ['paddusb',    '0F DC', 'mmx', 'sse2'],
  ['paddusw',    '0F DD', 'mmx', 'sse2'],
  ['pmaxub',     '0F DE', 'sse', 'sse2'],
  ['pandn',      '0F DF', 'mmx', 'sse2'],
  ['pavgb',      '0F E0', 'sse', 'sse2'],
  ['psraw',      '0F E1', 'mmx', 'sse2'],
  ['psrad',      '0F E2', 'mmx', 'sse2'],
  ['pavgw',      '0F E3', 'sse', 'sse2'],
  ['pmulhuw',    '0F E4', 'sse', 'sse2'],
  ['pmulhw',     '0F E5', 'mmx', 'sse2'],
  ['psubsb',     '0F E8', 'mmx', 'sse2'],
  ['psubsw',     '0F E9', 'mmx', 'sse2'],
  ['pminsw',     '0F EA', 'sse', 'sse2'],
  ['por',        '0F EB', 'mmx', 'sse2'],
  ['paddsb',     '0F EC', 'mmx', 'sse2'],
  ['paddsw',     '0F ED', 'mmx', 'sse2'],
  ['pmaxsw',     '0F EE', 'sse', 'sse2'],
  ['pxor',       '0F EF', 'mmx', 'sse2'],
  ['psllw',      '0F F1', 'mmx', 'sse2'],
  ['pslld',      '0F F2', 'mmx', 'sse2'],
  ['psllq',      '0F F3', 'mmx', 'sse2'],
  ['pmuludq',    '0F F4', 'sse2', 'sse2'],
  ['pmaddwd',    '0F F5', 'mmx', 'sse2'],
  ['psadbw',     '0F F6', 'sse', 'sse2'],
  ['psubb',      '0F F8', 'mmx', 'sse2'],
  ['psubw',      '0F F9', 'mmx', 'sse2'],
  ['psubd',      '0F FA', 'mmx', 'sse2'],
  ['psubq',      '0F FB', 'sse2', 'sse2'],
  ['paddb',      '0F FC', 'mmx', 'sse2'],
  ['paddw',      '0F FD', 'mmx', 'sse2'],
  ['paddd',      '0F FE', 'mmx', 'sse2'],
  ['pshufb',     '0F 38 00', 'ssse3', 'ssse3'],
  ['phaddw',     '0F 38 01', 'ssse3', 'ssse3'],
  ['phaddd',     '0F 38 02', 'ssse3', 'ssse3'],
  ['phaddsw',    '0F 38 03', 'ssse3', 'ssse3'],
  ['pmaddubsw',  '0F 38 04', 'ssse3', 'ssse3'],
  ['phsubw',     '0F 38 05', 'ssse3', 'ssse3'],
  ['phsubd',     '0F 38 06', 'ssse3', 'ssse3'],
  ['phsubsw',    '0F 38 07', 'ssse3', 'ssse3'],
  ['psignb',     '0F 38 08', 'ssse3', 'ssse3'],
  ['psignw',     '0F 38 09', 'ssse3', 'ssse3'],
  ['psignd',     '0F 38 0A', 'ssse3', 'ssse3'],
  ['pmulhrsw',   '0F 38 0B', 'ssse3', 'ssse3'],
  ['pabsb',      '0F 38 1C', 'ssse3', 'ssse3'],
  ['pabsw',      '0F 38 1D', 'ssse3', 'ssse3'],
  ['pabsd',      '0F 38 1E', 'ssse3', 'ssse3'],
  ['pmuldq',     '0F 38 28', '', 'sse4_1'],
  ['pcmpeqq',    '0F 38 29', '', 'sse4_1'],
  ['packusdw',   '0F 38 2B', '', 'sse4_1'],
  ['pcmpgtq',    '0F 38 37', '', 'sse4_2'],
  ['pminsb',     '0F 38 38', '', 'sse4_1'],
  ['pminsd',     '0F 38 39', '', 'sse4_1'],
  ['pminuw',     '0F 38 3A', '', 'sse4_1'],
  ['pminud',     '0F 38 3B', '', 'sse4_1'],
  ['pmaxsb',     '0F 38 3C', '', 'sse4_1'],
  ['pmaxsd',     '0F 38 3D', '', 'sse4_1'],
  ['pmaxuw',     '0F 38 3E', '', 'sse4_1'],
  ['pmaxud',     '0F 38 3F', '', 'sse4_1'],
  ['pmulld',     '0F 38 40', '', 'sse4_1'],
  ['phminposuw', '0F 38 41', '', 'sse4_1'],
]

/** Operand columns that differ from 'dst = op(dst, src)': no read of the destination, or a narrow memory source. */
const WRITE_ONLY = new Set(['pabsb', 'pabsw', 'pabsd', 'phminposuw'])
const HALF_MEMORY = new Set(['punpcklbw', 'punpcklwd', 'punpckldq'])

/** PUNPCKL of MMX reads only 32 bits of memory (SDM Vol. 2, PUNPCKLBW: "mm/m32"). */
export function mmxSource(mnemonic: string): 'mm_m32' | 'mm_m64' {
  return HALF_MEMORY.has(mnemonic) ? 'mm_m32' : 'mm_m64'
}

function forms([mnemonic, opcode, mm, xmm]: (typeof PACKED)[number]): (readonly [id: string, spec: RowSpec])[] {
  const access = WRITE_ONLY.has(mnemonic) ? 'w' : 'rw'
  const wide = sse(mnemonic, `66 ${opcode} /r`, [`${access}:xmm_r`, 'r:xmm_m128'], xmm, { faults: ALIGNED_FAULTS })
  const forms: (readonly [string, RowSpec])[] = [[`${mnemonic}_xmm_xmm_m128`, wide]]
  if (mm === '') return forms
  const source = mmxSource(mnemonic)
  forms.unshift([`${mnemonic}_mm_${source}`, mmx(mnemonic, `NP ${opcode} /r`, [`${access}:mm_r`, `r:${source}`], mm)])
  return forms
}

export const packedRows = defineRows<Record<string, RowSpec>>(Object.fromEntries(PACKED.flatMap(forms)))
