/** CPUID, time stamps, random numbers: what an unprivileged program may ask the processor itself. */
import {
  CPU_CPL,
  CPU_CPUID,
  CPU_CPUID_ENTRIES,
  CPU_CPUID_MAX,
  CPU_CR4,
  CPU_MSR_APIC_BASE,
  CPU_MSR_TSC_AUX,
  CPU_RAX,
  CPU_RBX,
  CPU_RCX,
  CPU_RDX,
  CPU_REQ,
  CPU_RNG,
  CPU_SINGLE,
  CPU_XCR0,
  FAULT_TRAP,
  REQ_CODE,
} from '../abi/layout.ts'
import { CR4_OSXSAVE, CR4_TSD, VECTOR_RETRY } from './arch.ts'
import { tsc_read_near } from './clock.ts'
import { cpu, raise, raise_error, VECTOR_GP } from './state.ts'

const ENTRY_SIZE: usize = 32

/** Table entry of a leaf, 0 if the model has none. */
function find(leaf: u32, subleaf: u32): usize {
  const count = min<u32>(load<u32>(cpu, CPU_CPUID), CPU_CPUID_MAX)
  for (let i: usize = 0; i < count; i++) {
    const entry = cpu + CPU_CPUID_ENTRIES + i * ENTRY_SIZE
    if (load<u32>(entry) == leaf && (!(load<u32>(entry, 8) & 1) || load<u32>(entry, 4) == subleaf)) return entry
  }
  return 0
}

/** Bytes of an XSAVE area in standard form for the enabled components (SDM Vol. 1, "XSAVE Area"). */
function xsave_size(components: u64): u32 {
  return components & 4 ? 832 : 576
}

export function sys_cpuid(): void {
  let leaf = load<u32>(cpu, CPU_RAX)
  const subleaf = load<u32>(cpu, CPU_RCX)
  // Beyond the last basic or extended leaf Intel processors answer with the last basic one.
  const basic = find(0, 0)
  const last = basic ? load<u32>(basic, 12) : 0
  const group = leaf & 0xffff_0000
  if (group == 0x8000_0000) {
    const extended = find(0x8000_0000, 0)
    if (!extended || leaf > load<u32>(extended, 12)) leaf = last
  } else if (group != 0x4000_0000 && leaf > last) leaf = last
  const entry = find(leaf, subleaf)
  let eax: u32 = 0
  let ebx: u32 = 0
  let ecx: u32 = 0
  let edx: u32 = 0
  if (entry) {
    eax = load<u32>(entry, 12)
    ebx = load<u32>(entry, 16)
    ecx = load<u32>(entry, 20)
    edx = load<u32>(entry, 24)
  }
  // What follows the state of the machine.
  if (leaf == 1) {
    ecx = load<u32>(cpu, CPU_CR4) & CR4_OSXSAVE ? ecx | 0x800_0000 : ecx & ~0x800_0000
    if (!(load<u32>(cpu, CPU_MSR_APIC_BASE) & 0x800)) edx &= ~0x200
  } else if (leaf == 13 && subleaf < 2) {
    if (entry && (subleaf == 0 || eax & 2)) ebx = xsave_size(load<u64>(cpu, CPU_XCR0))
  } else if (leaf == 11) {
    ecx = (ecx & ~0xff) | (subleaf & 0xff)
  }
  store<u64>(cpu, eax, CPU_RAX)
  store<u64>(cpu, ebx, CPU_RBX)
  store<u64>(cpu, ecx, CPU_RCX)
  store<u64>(cpu, edx, CPU_RDX)
  // It serializes: what other vCPUs have written over code before is what runs next.
  if (atomic.load<u32>(cpu + CPU_REQ) & REQ_CODE && !load<u32>(cpu, CPU_SINGLE)) raise(VECTOR_RETRY | FAULT_TRAP)
}

/** Family, model, stepping: EDX after a reset. */
export function cpu_signature(): u32 {
  const entry = find(1, 0)
  return entry ? load<u32>(entry, 12) : 0
}

export function sys_rdtsc(): u64 {
  if (load<u32>(cpu, CPU_CR4) & CR4_TSD && load<u32>(cpu, CPU_CPL) != 0) {
    raise_error(VECTOR_GP, 0)
    return 0
  }
  return tsc_read_near()
}

/** No performance counters: every index is refused, as CPUID leaf 0Ah says. */
export function sys_rdpmc(): void {
  raise_error(VECTOR_GP, 0)
}

export function sys_rdpid(): u64 {
  return load<u64>(cpu, CPU_MSR_TSC_AUX)
}

// --- RDRAND, RDSEED: ChaCha20 keyed by the host's random source (RFC 8439, "The ChaCha20 Block Function") --------

// Layout of CPU_RNG: key 32 bytes (the machine fills it), block counter u64, words left u32, 8 x u64 of output.
const RNG_COUNTER: usize = 32
const RNG_LEFT: usize = 40
const RNG_OUT: usize = 48

function word(i: u32): usize {
  return cpu + CPU_RNG + RNG_OUT + (<usize>i << 2)
}

function quarter(a: u32, b: u32, c: u32, d: u32): void {
  let va = load<u32>(word(a))
  let vb = load<u32>(word(b))
  let vc = load<u32>(word(c))
  let vd = load<u32>(word(d))
  va += vb
  vd = rotl<u32>(vd ^ va, 16)
  vc += vd
  vb = rotl<u32>(vb ^ vc, 12)
  va += vb
  vd = rotl<u32>(vd ^ va, 8)
  vc += vd
  vb = rotl<u32>(vb ^ vc, 7)
  store<u32>(word(a), va)
  store<u32>(word(b), vb)
  store<u32>(word(c), vc)
  store<u32>(word(d), vd)
}

/** Input word i of the block function. */
function input(i: u32): u32 {
  if (i == 0) return 0x61707865
  if (i == 1) return 0x3320646e
  if (i == 2) return 0x79622d32
  if (i == 3) return 0x6b206574
  if (i < 12) return load<u32>(cpu + CPU_RNG + (<usize>(i - 4) << 2))
  if (i < 14) return load<u32>(cpu + CPU_RNG + RNG_COUNTER + (<usize>(i - 12) << 2))
  return 0
}

function refill(): void {
  const rng = cpu + CPU_RNG
  for (let i: u32 = 0; i < 16; i++) store<u32>(word(i), input(i))
  for (let round = 0; round < 10; round++) {
    quarter(0, 4, 8, 12)
    quarter(1, 5, 9, 13)
    quarter(2, 6, 10, 14)
    quarter(3, 7, 11, 15)
    quarter(0, 5, 10, 15)
    quarter(1, 6, 11, 12)
    quarter(2, 7, 8, 13)
    quarter(3, 4, 9, 14)
  }
  for (let i: u32 = 0; i < 16; i++) store<u32>(word(i), load<u32>(word(i)) + input(i))
  store<u64>(rng + RNG_COUNTER, load<u64>(rng + RNG_COUNTER) + 1)
  store<u32>(rng + RNG_LEFT, 8)
}

export function sys_rdrand(): u64 {
  const rng = cpu + CPU_RNG
  if (load<u32>(rng + RNG_LEFT) == 0) refill()
  const left = load<u32>(rng + RNG_LEFT) - 1
  store<u32>(rng + RNG_LEFT, left)
  return load<u64>(rng + RNG_OUT + (<usize>left << 3))
}
