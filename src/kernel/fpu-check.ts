/**
 * Availability of x87, MMX, SSE and AVX (SDM Vol. 3, tables of "Exception Conditions" and 2.5, CR0.EM, MP and TS). Generated
 * code asks only when CR0 or CR4 say that something is off.
 */
import { CPU_AVX_GATE, CPU_CR0, CPU_CR4, CPU_XCR0 } from '../abi/layout.ts'
import { cpu, raise, VECTOR_NM, VECTOR_UD } from './state.ts'

const CR0_EM: u64 = 4
const CR0_TS: u64 = 8
const CR4_OSFXSR: u64 = 0x200
const CR4_OSXSAVE: u64 = 0x4_0000
const XCR0_SSE_AVX: u64 = 6

function avx_enabled(): bool {
  return (load<u64>(cpu, CPU_CR4) & CR4_OSXSAVE) != 0 && (load<u64>(cpu, CPU_XCR0) & XCR0_SSE_AVX) == XCR0_SSE_AVX
}

/** Call after any change of CR0.TS, CR4.OSXSAVE, XCR0. */
export function avx_gate_update(): void {
  store<u32>(cpu, !avx_enabled() || (load<u64>(cpu, CPU_CR0) & CR0_TS) != 0 ? 1 : 0, CPU_AVX_GATE)
}

/** family: 0 x87, 1 MMX, 2 SSE, 3 AVX. Raises #UD or #NM, or nothing. */
export function fpu_check(family: u32): void {
  const cr0 = load<u64>(cpu, CPU_CR0)
  const cr4 = load<u64>(cpu, CPU_CR4)
  let invalid = family != 0 && family != 3 && (cr0 & CR0_EM) != 0
  if (family == 2) invalid = invalid || !(cr4 & CR4_OSFXSR)
  if (family == 3) invalid = !avx_enabled()
  if (invalid) raise(VECTOR_UD)
  else if (cr0 & (family == 0 ? CR0_EM | CR0_TS : CR0_TS)) raise(VECTOR_NM)
}
