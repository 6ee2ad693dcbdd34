/** CPUID features of this vCPU's model, by the bit numbers of abi/features.ts. */
import { CPU_FEATURES } from '../abi/layout.ts'
import { cpu } from './state.ts'

// @ts-ignore: AssemblyScript decorator
@inline
export function has(feature: u32): bool {
  return (load<u32>(cpu + ((<usize>feature >> 5) << 2), CPU_FEATURES) & (1 << (feature & 31))) != 0
}
