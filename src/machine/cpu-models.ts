/**
 * Named CPU models: what CPUID answers, and with it what the decoder and the kernel allow. Writes the CPUID table and the
 * feature words of a CPU struct (abi/layout.ts CPU_CPUID, abi/features.ts). SDM Vol. 2, CPUID; KVM's leaves: Linux
 * Documentation/virt/kvm/x86/cpuid.rst. Only what is implemented is announced.
 *
 * All models are Intel's, because SYSCALL, SYSRET and FS/GS base behaviour are. 'x86-64-v2', 'x86-64-v3' and 'max' call
 * themselves a Nehalem (the first processor of level 2): C libraries then choose unaligned and REP string functions, which run
 * here as bulk copies, and IA32_ARCH_CAPABILITIES spares the kernel page-table isolation and retpolines, because
 * nothing here runs speculatively.
 */
import { KVM_FEATURES_IMPLEMENTED } from '#abi/irqchip.ts'
import * as abi from '#abi/layout.ts'

/** Feature bits by CPUID register: names as the SDM abbreviates them. */
// prettier-ignore
const EDX1 = {
  fpu: 0, vme: 1, de: 2, pse: 3, tsc: 4, msr: 5, pae: 6, mce: 7, cx8: 8, apic: 9, sep: 11, mtrr: 12, pge: 13, mca: 14,
  cmov: 15, pat: 16, pse36: 17, clfsh: 19, mmx: 23, fxsr: 24, sse: 25, sse2: 26,
}
// prettier-ignore
const ECX1 = {
  sse3: 0, pclmulqdq: 1, ssse3: 9, fma: 12, cx16: 13, pcid: 17, sse4_1: 19, sse4_2: 20, x2apic: 21, movbe: 22, popcnt: 23,
  tsc_deadline: 24, aes: 25, xsave: 26, avx: 28, f16c: 29, rdrand: 30, hypervisor: 31,
}
// prettier-ignore
const EBX7 = {
  fsgsbase: 0, tsc_adjust: 1, bmi1: 3, avx2: 5, smep: 7, bmi2: 8, erms: 9, invpcid: 10, rdseed: 18, adx: 19, smap: 20,
  clflushopt: 23, clwb: 24, sha: 29,
}
const ECX7 = { umip: 2, rdpid: 22 }
const EDX7 = { fsrm: 4, spec_ctrl: 26, arch_capabilities: 29 }
const ECX81 = { lahf64: 0, abm: 5, prefetchw: 8 }
const EDX81 = { syscall: 11, nx: 20, page1gb: 26, rdtscp: 27, lm: 29 }
const EAXD1 = { xsaveopt: 0, xgetbv1: 2 }

/** In the order of the feature words of abi/features.ts. */
const WORDS = [EDX1, ECX1, EBX7, ECX7, EDX7, ECX81, EDX81, EAXD1] as const

type Keys<T> = T extends unknown ? keyof T : never
type Feature = Keys<(typeof WORDS)[number]>

interface CpuModel {
  readonly family: number
  readonly model: number
  readonly stepping: number
  readonly brand: string
  readonly features: readonly Feature[]
}

// prettier-ignore
const BASE64: readonly Feature[] = [
  ...(Object.keys(EDX1) as (keyof typeof EDX1)[]),
  'sse3', 'cx16', 'x2apic', 'tsc_deadline', 'hypervisor', 'syscall', 'nx', 'lm',
]

/** The psABI's x86-64-v2, and what makes a guest faster or safer here at no price. SMAP has one: STAC and CLAC are calls. */
// prettier-ignore
const V2: readonly Feature[] = [
  ...BASE64,
  'ssse3', 'sse4_1', 'sse4_2', 'popcnt', 'lahf64', 'aes', 'pclmulqdq', 'rdrand', 'rdseed', 'pcid', 'invpcid', 'fsgsbase',
  'tsc_adjust', 'smep', 'umip', 'erms', 'fsrm', 'page1gb', 'rdtscp', 'prefetchw', 'spec_ctrl', 'arch_capabilities',
]

/** What the psABI's x86-64-v3 adds. */
// prettier-ignore
const V3: readonly Feature[] = [
  ...V2, 'avx', 'avx2', 'fma', 'f16c', 'bmi1', 'bmi2', 'abm', 'movbe', 'xsave', 'xsaveopt', 'xgetbv1',
]

// Generations by Intel's names, with the features that QEMU gives them; without TSX. Like the others they are not speculative.
const CALM: readonly Feature[] = ['spec_ctrl', 'arch_capabilities']
const WESTMERE_ADDS: readonly Feature[] = [
  'ssse3',
  'sse4_1',
  'sse4_2',
  'popcnt',
  'lahf64',
  'aes',
  'pclmulqdq',
]
const SANDY_BRIDGE: readonly Feature[] = [
  ...BASE64,
  ...CALM,
  ...WESTMERE_ADDS,
  'avx',
  'xsave',
  'xsaveopt',
  'rdtscp',
]
const IVY_BRIDGE: readonly Feature[] = [...SANDY_BRIDGE, 'f16c', 'rdrand', 'fsgsbase', 'smep', 'erms']
// prettier-ignore
const HASWELL: readonly Feature[] = [
  ...IVY_BRIDGE, 'fma', 'movbe', 'bmi1', 'avx2', 'bmi2', 'abm', 'pcid', 'invpcid', 'tsc_adjust', 'page1gb',
]

const NEHALEM = { family: 6, model: 26, stepping: 3 }

// prettier-ignore
const MODELS: Readonly<Record<string, CpuModel>> = {
  qemu64: { family: 15, model: 107, stepping: 1, brand: 'webkvm qemu64 virtual CPU', features: [...BASE64, 'lahf64'] },
  kvm64: { family: 15, model: 6, stepping: 1, brand: 'Common KVM processor', features: BASE64 },
  'x86-64-v2': { ...NEHALEM, brand: 'webkvm x86-64-v2 virtual CPU', features: V2 },
  'x86-64-v3': { ...NEHALEM, brand: 'webkvm x86-64-v3 virtual CPU', features: V3 },
  SandyBridge: { family: 6, model: 42, stepping: 1, brand: 'Intel Xeon E312xx (Sandy Bridge)', features: SANDY_BRIDGE },
  IvyBridge: { family: 6, model: 58, stepping: 9, brand: 'Intel Xeon E3-12xx v2 (Ivy Bridge)', features: IVY_BRIDGE },
  Haswell: { family: 6, model: 60, stepping: 4, brand: 'Intel Core Processor (Haswell)', features: HASWELL },
  max: {
    ...NEHALEM,
    brand: 'webkvm max virtual CPU',
    features: [...V3, 'smap', 'adx', 'sha', 'rdpid', 'clflushopt', 'clwb'],
  },
}

export const CPU_MODEL_NAMES: readonly string[] = Object.keys(MODELS)

export interface CpuTopology {
  /** This vCPU's number: its APIC id. */
  readonly index: number
  /** vCPUs of the machine: cores of one package. */
  readonly count: number
  /** 32 bytes of the host's randomness for RDRAND and RDSEED; other ones for each vCPU. */
  readonly seed: Uint8Array
}

/** One CPUID answer; subleaf is undefined where it does not matter. */
interface Leaf {
  readonly leaf: number
  readonly subleaf: number | undefined
  readonly regs: readonly [eax: number, ebx: number, ecx: number, edx: number]
}

const VIRTUAL_BITS = 48
const LINE_BYTES = 64
const XSAVE_BYTES = 576
/** Upper halves of the YMM registers: where they stand in the area, and how much they take. */
const YMM_OFFSET = 576
const YMM_BYTES = 256

/** Fills the CPUID table, the feature words and the random seed of a CPU struct. Throws on an unknown model name. */
export function writeCpuModel(
  buffer: ArrayBufferLike,
  cpu: number,
  name: string,
  topology: CpuTopology,
): void {
  const model = MODELS[name]
  if (model === undefined)
    throw new RangeError(`unknown CPU model '${name}': there are ${CPU_MODEL_NAMES.join(', ')}`)
  if (topology.seed.length !== 32)
    throw new RangeError(`a CPU's random seed has 32 bytes, not ${topology.seed.length}`)
  const view = new DataView(buffer)
  const words = featureWords(model)
  words.forEach((word, i) => view.setUint32(cpu + abi.CPU_FEATURES + 4 * i, word, true))
  const vm = view.getUint32(cpu + abi.CPU_VM, true)
  const leaves = cpuidLeaves(model, words, topology, view.getUint32(vm + abi.VM_MAXPHYADDR, true))
  if (leaves.length > abi.CPU_CPUID_MAX)
    throw new RangeError(`CPU model '${name}' has ${leaves.length} CPUID leaves`)
  view.setUint32(cpu + abi.CPU_CPUID, leaves.length, true)
  leaves.forEach(({ leaf, subleaf, regs }, i) => {
    const at = cpu + abi.CPU_CPUID_ENTRIES + 32 * i
    const fields = [leaf, subleaf ?? 0, subleaf === undefined ? 0 : 1, ...regs, 0]
    fields.forEach((value, field) => view.setUint32(at + 4 * field, value, true))
  })
  const state = new Uint8Array(buffer, cpu + abi.CPU_RNG, 0x80)
  state.fill(0)
  state.set(topology.seed)
}

/** The eight feature words of a model. */
function featureWords(model: CpuModel): number[] {
  const wanted = new Set<string>(model.features)
  return WORDS.map((word) =>
    Object.entries(word).reduce(
      (bits, [name, bit]) => (wanted.has(name) ? (bits | (1 << bit)) >>> 0 : bits),
      0,
    ),
  )
}

function cpuidLeaves(
  model: CpuModel,
  words: readonly number[],
  topology: CpuTopology,
  physicalBits: number,
): Leaf[] {
  const [edx1 = 0, ecx1 = 0, ebx7 = 0, ecx7 = 0, edx7 = 0, ecx81 = 0, edx81 = 0, eaxd1 = 0] = words
  const { index, count } = topology
  const xsave = model.features.includes('xsave')
  const specCtrl = model.features.includes('spec_ctrl')
  const htt = count > 1 ? 1 << 28 : 0
  const at = (leaf: number, regs: Leaf['regs'], subleaf?: number): Leaf => ({ leaf, subleaf, regs })
  return [
    at(0, [xsave ? 13 : 11, ...text('Genu', 'ntel', 'ineI')]),
    at(1, [
      signature(model),
      ((LINE_BYTES / 8) << 8) | (Math.min(count, 255) << 16) | (index << 24),
      ecx1,
      edx1 | htt,
    ]),
    at(2, [0x00ff_0001, 0, 0, 0]), // "see leaf 4"
    ...cacheLeaves(count),
    at(5, [0, 0, 0, 0]),
    at(6, [1 << 2, 0, 0, 0]), // ARAT: the APIC timer never stops
    at(7, [specCtrl ? 2 : 0, ebx7, ecx7, edx7], 0),
    // BHI_CTRL, bit 4: without it kernels run a loop of 125 branches at each system call, BHI_NO or not.
    ...(specCtrl ? [at(7, [0, 0, 0, 0], 1), at(7, [0, 0, 0, 1 << 4], 2)] : []),
    at(10, [0, 0, 0, 0]), // no performance counters
    at(11, [0, 1, 0x100, index], 0),
    at(11, [bitsFor(count), count, 0x201, index], 1),
    at(11, [0, 0, 0, index], 2),
    ...(xsave ? xsaveLeaves(model.features.includes('avx'), eaxd1) : []),
    at(0x4000_0000, [0x4000_0001, ...text('KVMK', 'VMKV', 'M\0\0\0')]),
    // No hint of KVM_HINTS_REALTIME: the host runs vCPUs when it likes.
    at(0x4000_0001, [KVM_FEATURES_IMPLEMENTED, 0, 0, 0]),
    at(0x8000_0000, [0x8000_0008, 0, 0, 0]),
    at(0x8000_0001, [0, 0, ecx81, edx81]),
    ...brandLeaves(model.brand),
    at(0x8000_0006, [0, 0, (1024 << 16) | (8 << 12) | LINE_BYTES, 0]),
    at(0x8000_0008, [physicalBits | (VIRTUAL_BITS << 8), 0, 0, 0]),
  ]
}

/** Leaf 13: components, sizes (EBX of the first two follows XCR0), instructions. */
function xsaveLeaves(avx: boolean, instructions: number): Leaf[] {
  const bytes = avx ? XSAVE_BYTES + YMM_BYTES : XSAVE_BYTES
  const leaf = (subleaf: number, ...regs: Leaf['regs']): Leaf => ({ leaf: 13, subleaf, regs })
  return [
    leaf(0, avx ? 7 : 3, bytes, bytes, 0),
    leaf(1, instructions, 0, 0, 0),
    ...(avx ? [leaf(2, YMM_BYTES, YMM_OFFSET, 0, 0)] : []),
  ]
}

/** Leaf 4: 32 KiB L1 and 1 MiB L2 of each core, 16 MiB L3 for all. */
function cacheLeaves(cores: number): Leaf[] {
  const cache = (
    subleaf: number,
    type: number,
    level: number,
    ways: number,
    sets: number,
    sharedBy: number,
  ): Leaf => ({
    leaf: 4,
    subleaf,
    regs: [
      type |
        (level << 5) |
        (1 << 8) |
        ((sharedBy - 1) << 14) |
        ((Math.min(2 ** bitsFor(cores), 64) - 1) << 26),
      ((ways - 1) << 22) | (LINE_BYTES - 1),
      sets - 1,
      0,
    ],
  })
  return [
    cache(0, 1, 1, 8, 64, 1),
    cache(1, 2, 1, 8, 64, 1),
    cache(2, 3, 2, 8, 2048, 1),
    cache(3, 3, 3, 16, 16_384, Math.min(2 ** bitsFor(cores), 4096)),
    { leaf: 4, subleaf: 4, regs: [0, 0, 0, 0] },
  ]
}

/** Leaves 8000_0002h..4h: 48 characters. */
function brandLeaves(brand: string): Leaf[] {
  const bytes = new Uint8Array(48)
  bytes.set(new TextEncoder().encode(brand).subarray(0, 47))
  const view = new DataView(bytes.buffer)
  return [0, 1, 2].map((i) => {
    const word = (n: number): number => view.getUint32(16 * i + 4 * n, true)
    return { leaf: 0x8000_0002 + i, subleaf: undefined, regs: [word(0), word(1), word(2), word(3)] }
  })
}

/** EAX of leaf 1 (SDM Vol. 2, CPUID, "Version Information Returned by CPUID in EAX"). */
function signature({ family, model, stepping }: CpuModel): number {
  const extendedFamily = family >= 15 ? family - 15 : 0
  return (
    (extendedFamily << 20) |
    ((model >> 4) << 16) |
    (Math.min(family, 15) << 8) |
    ((model & 15) << 4) |
    stepping
  )
}

/** Three registers of four characters each. */
function text(ebx: string, ecx: string, edx: string): [number, number, number] {
  const word = (part: string): number =>
    new DataView(new TextEncoder().encode(part).buffer).getUint32(0, true)
  return [word(ebx), word(ecx), word(edx)]
}

/** Bits that number `count` things. */
const bitsFor = (count: number): number => Math.ceil(Math.log2(count))
