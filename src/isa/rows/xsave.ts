/**
 * Images of the x87, MMX and SSE state in memory (SDM Vol. 1, 10.5 and chapter 13). The REX.W forms store 64-bit
 * instruction and data pointers.
 */
import { defineRows, type RowSpec } from '../row.ts'
import type { FeatureName } from '../features.ts'
import { ALIGNED_FAULTS, vector } from './vector-row.ts'

function both<Name extends string>(
  name: Name,
  digit: number,
  access: 'r' | 'w' | 'rw',
  feature: FeatureName,
): Record<`${Name}_m` | `${Name}64_m`, RowSpec> {
  return {
    [`${name}_m`]: vector(name, `NP W0 0F AE /${digit}`, [`${access}:m`], feature, { faults: ALIGNED_FAULTS }),
    [`${name}64_m`]: vector(`${name}64`, `NP REX.W 0F AE /${digit}`, [`${access}:m`], feature, { faults: ALIGNED_FAULTS, modes: 'long' }),
  } as Record<`${Name}_m` | `${Name}64_m`, RowSpec>
}

export const xsaveRows = defineRows({
  ...both('fxsave', 0, 'w', 'fxsr'),
  ...both('fxrstor', 1, 'r', 'fxsr'),
  ...both('xsave', 4, 'rw', 'xsave'),
  ...both('xrstor', 5, 'r', 'xsave'),
  ...both('xsaveopt', 6, 'rw', 'xsaveopt'),
})
