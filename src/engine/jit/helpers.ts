/**
 * What kernel functions see of the guest's registers, for code that keeps them in locals: written back before a call,
 * read again after it. A name that is not listed may look at everything.
 */
import { GPRS, XMMS, bit } from './registers.ts'

export interface Effects {
  /** Registers that it may read or write in the CPU struct. */
  readonly registers: bigint
  /** It may read or write the arithmetic flags. */
  readonly flags: boolean
  /** It may change what a memory access or a fetch means: TLB bank, control registers. */
  readonly mode: boolean
  /** It may store to guest memory. */
  readonly stores: boolean
}

const [RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI] = [0, 1, 2, 3, 4, 5, 6, 7].map(bit) as [
  bigint, bigint, bigint, bigint, bigint, bigint, bigint, bigint,
] // prettier-ignore

const effects = (registers: bigint, flags = false, mode = false, stores = false): Effects => ({
  registers,
  flags,
  mode,
  stores,
})

const NOTHING = effects(0n)
const STORES = effects(0n, false, false, true)
const EVERYTHING = effects(GPRS, true, true, true)

const BY_NAME: Readonly<Record<string, Effects>> = {
  check_near: NOTHING, seg_linear: NOTHING, mem_probe: NOTHING,
  pdep64: NOTHING, pext64: NOTHING, crc32c: NOTHING,
  div64: effects(RAX | RDX), idiv64: effects(RAX | RDX),
  cmpxchg16b: effects(RAX | RDX | RBX | RCX, false, false, true),
  fpu_check: NOTHING,
  sys_cli: NOTHING, sys_sti: NOTHING, sys_stac: effects(0n, false, true), sys_clac: effects(0n, false, true),
  sys_pause: effects(GPRS, false, true), sys_rdtsc: NOTHING, sys_rdpid: NOTHING, sys_rdrand: NOTHING, sys_swapgs: NOTHING,
  sys_rdfsbase: NOTHING, sys_rdgsbase: NOTHING, sys_wrfsbase: NOTHING, sys_wrgsbase: NOTHING,
  sys_sldt: NOTHING, sys_str: NOTHING, sys_smsw: NOTHING, sys_invlpg: NOTHING,
  sys_in: NOTHING, sys_out: NOTHING,
  sys_cpuid: effects(RAX | RBX | RCX | RDX), sys_xgetbv: effects(RAX | RCX | RDX),
  sys_rdmsr: effects(RAX | RCX | RDX), sys_rdpmc: effects(RAX | RCX | RDX),
  sys_wrmsr: effects(RAX | RCX | RDX, false, true, false),
  sys_pushf: effects(RSP, true, false, true),
  sys_leave: effects(RSP | RBP), sys_enter_frame: effects(RSP | RBP, false, false, true),
  str_movs: effects(RCX | RSI | RDI, false, false, true), str_stos: effects(RAX | RCX | RDI, false, false, true),
  str_lods: effects(RAX | RCX | RSI), str_scas: effects(RAX | RCX | RDI, true), str_cmps: effects(RCX | RSI | RDI, true),
  str_ins: effects(RCX | RDX | RDI, false, false, true), str_outs: effects(RCX | RDX | RSI),
  mem_load128: NOTHING, mem_load_bytes: NOTHING, mem_store128: STORES, mem_store_bytes: STORES,
  simd_masked_store: STORES, avx_mask_store: STORES, x87_fnstenv: STORES, x87_fnsave: STORES,
} // prettier-ignore

export function effectsOf(name: string): Effects {
  const named = BY_NAME[name]
  if (named) return named
  if (name.startsWith('fpu_')) return effects(GPRS | XMMS, true, true, true)
  // Operands in registers are passed by address: the emitter knows which ones.
  if (/^(sse|simd|x87|mmx|avx|f16c)_/.test(name)) return NOTHING
  return EVERYTHING
}
