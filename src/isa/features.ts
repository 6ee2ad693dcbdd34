/** Feature names of rows: the FEATURE_* constants of the shared layout in lower case, and 'base' for what every model has. */
import * as features from '#abi/features.ts'

type NameOf<Constant> = Constant extends `FEATURE_${infer Name}` ? Exclude<Lowercase<Name>, 'words'> : never
export type FeatureName = 'base' | NameOf<keyof typeof features>

/** Bit number into CPU_FEATURES, or undefined for 'base'. */
export function featureBit(name: FeatureName): number | undefined {
  if (name === 'base') return undefined
  return features[`FEATURE_${name.toUpperCase()}` as keyof typeof features]
}
