/**
 * Images of the x87, MMX and SSE state in memory (SDM Vol. 1, 10.5 and chapter 13). The REX.W forms store 64-bit
 * instruction and data pointers.
 */
import type { Row } from '../row.ts'
import { vectorRow } from './vector-row.ts'

const faults = ['UD', 'NM', 'GP']

const both = (name: string, op: string, access: string, feature: string): readonly Row[] => {
  const [np, ...rest] = op.split(' ')
  return [
    vectorRow(`${name}_m`, `${np} W0 ${rest.join(' ')}`, [`${access}:m`], feature, { faults }),
    vectorRow(`${name}64_m`, `${np} REX.W ${rest.join(' ')}`, [`${access}:m`], feature, { faults, modes: 'long' }),
  ]
}

export const rows: readonly Row[] = [
  ...both('fxsave', 'NP 0F AE /0', 'w', 'fxsr'),
  ...both('fxrstor', 'NP 0F AE /1', 'r', 'fxsr'),
  ...both('xsave', 'NP 0F AE /4', 'rw', 'xsave'),
  ...both('xrstor', 'NP 0F AE /5', 'r', 'xsave'),
  ...both('xsaveopt', 'NP 0F AE /6', 'rw', 'xsaveopt'),
  ...both('xsavec', 'NP 0F C7 /4', 'rw', 'xsavec'),
]
