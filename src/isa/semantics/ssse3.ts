/** SSSE3 beyond packed.ts. */
import type { Semantics } from '../emit.ts'
import type { ssse3Rows } from '../rows/ssse3.ts'
import { alignRight } from './shuffle.ts'
import { gateSse, imm, read128 } from './vector.ts'

export const ssse3Semantics: Readonly<Record<keyof typeof ssse3Rows, Semantics>> = {
  palignr_xmm_xmm_m128_imm8: (e) => {
    gateSse(e)
    const low = read128(e, 1)
    e.write(0, alignRight(e, e.read(0), low, imm(e, 2)))
  },
}
