/**
 * x87 control instructions, environment and state images, MMX mode.
 * SDM Vol. 1, 8.1.10 draws the four environment formats (figures 8-9 to 8-12); the tag word of an image has two bits per
 * physical register, derived here from the contents because only empty / not empty is stored.
 */
import {
  CPU_MODE, CPU_SCRATCH, CPU_X87, CPU_X87_CW, CPU_X87_FCS, CPU_X87_FDP, CPU_X87_FDS, CPU_X87_FIP, CPU_X87_FOP, CPU_X87_TAG,
  CPU_X87_TOP, MODE_PE, MODE_VM86,
} from '../../abi/layout.ts'
import { mem_load_bytes, mem_store_bytes } from '../mmu.ts'
import { cpu, fault_pending } from '../state.ts'
import { CLS_NORMAL, CLS_ZERO, aCls, aFromF80 } from './operand.ts'
import { SW_ES, SW_B, SW_SF, controlWord, setStatus, statusWord } from './x87-state.ts'
import { ALL_EXCEPTIONS } from './env.ts'

const CW_INIT: u32 = 0x37f
const CW_WRITABLE: u32 = 0x1f3f
const CW_FIXED: u32 = 0x40
const TOP_SHIFT: u32 = 11

const TAG_VALID: u32 = 0
const TAG_ZERO: u32 = 1
const TAG_SPECIAL: u32 = 2
const TAG_EMPTY: u32 = 3

const REGISTERS_BYTES: u32 = 80

export function setControlWord(cw: u32): void {
  store<u16>(cpu, <u16>((cw & CW_WRITABLE) | CW_FIXED), CPU_X87_CW)
  setStatus(statusWord())
}

/** Status word with TOP, as programs see it. */
export function fullStatus(): u32 {
  return statusWord() | (load<u32>(cpu, CPU_X87_TOP) << TOP_SHIFT)
}

/** Inverse of fullStatus; the summary bits follow from the control word, which must be set before. */
export function setFullStatus(sw: u32): void {
  store<u32>(cpu, (sw >> TOP_SHIFT) & 7, CPU_X87_TOP)
  setStatus(sw)
}

export function x87_fninit(): void {
  store<u16>(cpu, <u16>CW_INIT, CPU_X87_CW)
  setFullStatus(0)
  store<u32>(cpu, 0, CPU_X87_TAG)
  store<u16>(cpu, 0, CPU_X87_FOP)
  store<u64>(cpu, 0, CPU_X87_FIP)
  store<u64>(cpu, 0, CPU_X87_FDP)
  store<u16>(cpu, 0, CPU_X87_FCS)
  store<u16>(cpu, 0, CPU_X87_FDS)
}

export function x87_fnclex(): void {
  setStatus(statusWord() & ~(ALL_EXCEPTIONS | SW_SF | SW_ES | SW_B))
}

export function x87_fldcw(value: u32): void {
  setControlWord(value)
}

export function x87_fnstcw(): u32 {
  return controlWord()
}

export function x87_fnstsw(): u32 {
  return fullStatus()
}

function tagOf(register: u32): u32 {
  if (!((load<u32>(cpu, CPU_X87_TAG) >> register) & 1)) return TAG_EMPTY
  const slot = cpu + CPU_X87 + (register << 4)
  aFromF80(load<u64>(slot), load<u16>(slot, 8))
  if (aCls == CLS_ZERO) return TAG_ZERO
  return aCls == CLS_NORMAL ? TAG_VALID : TAG_SPECIAL
}

function fullTagWord(): u32 {
  let word: u32 = 0
  for (let i: u32 = 0; i < 8; i++) word |= tagOf(i) << (2 * i)
  return word
}

function setFullTagWord(word: u32): void {
  let abridged: u32 = 0
  for (let i: u32 = 0; i < 8; i++) {
    if (((word >> (2 * i)) & 3) != TAG_EMPTY) abridged |= (<u32>1) << i
  }
  store<u32>(cpu, abridged, CPU_X87_TAG)
}

function isProtected(): bool {
  return (load<u32>(cpu, CPU_MODE) & (MODE_PE | MODE_VM86)) == MODE_PE
}

function environmentBytes(size: u32): u32 {
  return size == 4 ? 28 : 14
}

/** Fills the environment at `to` in the format of the mode; operand size 2 or 4. */
function writeEnvironment(to: usize, size: u32): void {
  const fip = <u32>load<u64>(cpu, CPU_X87_FIP)
  const fdp = <u32>load<u64>(cpu, CPU_X87_FDP)
  const fop = <u32>load<u16>(cpu, CPU_X87_FOP)
  const fcs = <u32>load<u16>(cpu, CPU_X87_FCS)
  const fds = <u32>load<u16>(cpu, CPU_X87_FDS)
  const prot = isProtected()
  if (size == 4) {
    store<u32>(to, 0xffff_0000 | controlWord())
    store<u32>(to, 0xffff_0000 | fullStatus(), 4)
    store<u32>(to, 0xffff_0000 | fullTagWord(), 8)
    if (prot) {
      store<u32>(to, fip, 12)
      store<u32>(to, fcs | (fop << 16), 16)
      store<u32>(to, fdp, 20)
      store<u32>(to, 0xffff_0000 | fds, 24)
    } else {
      const ip = (fcs << 4) + fip
      const dp = (fds << 4) + fdp
      store<u32>(to, 0xffff_0000 | (ip & 0xffff), 12)
      store<u32>(to, ((ip >> 16) << 12) | fop, 16)
      store<u32>(to, 0xffff_0000 | (dp & 0xffff), 20)
      store<u32>(to, (dp >> 16) << 12, 24)
    }
    return
  }
  store<u16>(to, <u16>controlWord())
  store<u16>(to, <u16>fullStatus(), 2)
  store<u16>(to, <u16>fullTagWord(), 4)
  if (prot) {
    store<u16>(to, <u16>fip, 6)
    store<u16>(to, <u16>fcs, 8)
    store<u16>(to, <u16>fdp, 10)
    store<u16>(to, <u16>fds, 12)
  } else {
    const ip = (fcs << 4) + fip
    const dp = (fds << 4) + fdp
    store<u16>(to, <u16>ip, 6)
    store<u16>(to, <u16>(((ip >> 4) & 0xf000) | fop), 8)
    store<u16>(to, <u16>dp, 10)
    store<u16>(to, <u16>((dp >> 4) & 0xf000), 12)
  }
}

function readEnvironment(from: usize, size: u32): void {
  const step = size
  store<u16>(cpu, <u16>((load<u16>(from) & CW_WRITABLE) | CW_FIXED), CPU_X87_CW)
  setFullStatus(load<u16>(from + step))
  setFullTagWord(load<u16>(from + 2 * step))
  let fip: u64
  let fdp: u64
  let fop: u32
  let fcs: u32 = 0
  let fds: u32 = 0
  if (size == 4) {
    const word = load<u32>(from, 16)
    if (isProtected()) {
      fip = load<u32>(from, 12)
      fcs = word & 0xffff
      fop = word >> 16
      fdp = load<u32>(from, 20)
      fds = load<u16>(from, 24)
    } else {
      fip = load<u16>(from, 12) | ((word >> 12) << 16)
      fop = word
      fdp = load<u16>(from, 20) | ((load<u32>(from, 24) >> 12) << 16)
    }
  } else if (isProtected()) {
    fip = load<u16>(from, 6)
    fcs = load<u16>(from, 8)
    fop = 0
    fdp = load<u16>(from, 10)
    fds = load<u16>(from, 12)
  } else {
    fop = load<u16>(from, 8)
    fip = load<u16>(from, 6) | ((fop & 0xf000) << 4)
    fdp = load<u16>(from, 10) | ((<u32>load<u16>(from, 12) & 0xf000) << 4)
  }
  store<u16>(cpu, <u16>(fop & 0x7ff), CPU_X87_FOP)
  store<u64>(cpu, fip, CPU_X87_FIP)
  store<u64>(cpu, fdp, CPU_X87_FDP)
  store<u16>(cpu, <u16>fcs, CPU_X87_FCS)
  store<u16>(cpu, <u16>fds, CPU_X87_FDS)
}

function registerAddress(st: u32): usize {
  return cpu + CPU_X87 + (((load<u32>(cpu, CPU_X87_TOP) + st) & 7) << 4)
}

/** FNSTENV: all exceptions are masked afterwards. */
export function x87_fnstenv(gva: u64, segment: u32, size: u32): void {
  writeEnvironment(cpu + CPU_SCRATCH, size)
  mem_store_bytes(gva, <u32>(cpu + CPU_SCRATCH), environmentBytes(size), segment)
  if (fault_pending()) return
  setControlWord(controlWord() | ALL_EXCEPTIONS)
}

export function x87_fldenv(gva: u64, segment: u32, size: u32): void {
  mem_load_bytes(gva, <u32>(cpu + CPU_SCRATCH), environmentBytes(size), segment)
  if (!fault_pending()) readEnvironment(cpu + CPU_SCRATCH, size)
}

/** FNSAVE: environment, then ST(0)..ST(7) as ten bytes each, then FNINIT. */
export function x87_fnsave(gva: u64, segment: u32, size: u32): void {
  const image = cpu + CPU_SCRATCH
  const head = environmentBytes(size)
  writeEnvironment(image, size)
  for (let i: u32 = 0; i < 8; i++) {
    const from = registerAddress(i)
    const to = image + head + i * 10
    store<u64>(to, load<u64>(from))
    store<u16>(to, load<u16>(from, 8), 8)
  }
  mem_store_bytes(gva, <u32>image, head + REGISTERS_BYTES, segment)
  if (!fault_pending()) x87_fninit()
}

export function x87_frstor(gva: u64, segment: u32, size: u32): void {
  const image = cpu + CPU_SCRATCH
  const head = environmentBytes(size)
  mem_load_bytes(gva, <u32>image, head + REGISTERS_BYTES, segment)
  if (fault_pending()) return
  readEnvironment(image, size)
  for (let i: u32 = 0; i < 8; i++) {
    const to = registerAddress(i)
    const from = image + head + i * 10
    store<u64>(to, load<u64>(from))
    store<u16>(to, load<u16>(from, 8), 8)
  }
}

/** Every MMX instruction but EMMS: TOP = 0, all registers valid (SDM Vol. 1, 9.5.1). */
export function mmx_enter(): void {
  store<u32>(cpu, 0, CPU_X87_TOP)
  store<u32>(cpu, 0xff, CPU_X87_TAG)
}

/** EMMS leaves TOP = 0 like the others and frees all registers. */
export function mmx_emms(): void {
  store<u32>(cpu, 0, CPU_X87_TOP)
  store<u32>(cpu, 0, CPU_X87_TAG)
}
