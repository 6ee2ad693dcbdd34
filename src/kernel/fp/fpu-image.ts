/**
 * FXSAVE, FXRSTOR, XSAVE, XSAVEOPT, XRSTOR, LDMXCSR (SDM Vol. 1, 10.5 and chapter 13, standard format).
 *
 *   0 FCW | 2 FSW | 4 abridged FTW | 6 FOP | 8 FIP | 16 FDP | 24 MXCSR | 28 MXCSR_MASK | 32 ST0..7 x 16 |
 *   160 XMM0..15 x 16 | 416 not touched | 512 XSTATE_BV | 520 XCOMP_BV | 528 zero | 576 YMM upper halves x 16
 *
 * The legacy region goes through the scratch slots. Everything that can fault is probed before the first change.
 * Absent: the compacted format (XSAVEC, XSAVES), which CPUID does not offer.
 */
import {
  CPU_CR0, CPU_CR4, CPU_MODE, CPU_MXCSR, CPU_RAX, CPU_SCRATCH, CPU_X87_FCS, CPU_X87_FDP, CPU_X87_FDS, CPU_X87_FIP,
  CPU_X87_FOP, CPU_X87_TAG, CPU_XCR0, CPU_XMM, CPU_XMM_STRIDE, MODE_CS64, MODE_CS_MASK,
} from '../../abi/layout.ts'
import { CR0_TS, CR4_OSXSAVE } from '../arch.ts'
import { mem_load_bytes, mem_probe, mem_store_bytes } from '../mmu.ts'
import { VECTOR_GP, VECTOR_NM, VECTOR_UD, cpu, fault_pending, raise, raise_error } from '../state.ts'
import { controlWord, stAddress } from './x87-state.ts'
import { fullStatus, setControlWord, setFullStatus, x87_fninit } from './x87-control.ts'

const MXCSR_MASK: u32 = 0xffff
const MXCSR_INIT: u32 = 0x1f80
const CW_INIT: u32 = 0x37f

const XSTATE_X87: u32 = 1
const XSTATE_SSE: u32 = 2
const XSTATE_AVX: u32 = 4

const X87_HEAD: u32 = 24
const ST_OFFSET: u32 = 32
const XMM_OFFSET: u32 = 160
const FXSAVE_BYTES: u32 = 512
const HEADER_OFFSET: u32 = 512
const HEADER_BYTES: u32 = 64
const YMM_OFFSET: u32 = 576

function is64(): bool {
  return (load<u32>(cpu, CPU_MODE) & MODE_CS_MASK) == MODE_CS64
}

/** XMM registers that the mode can name. */
function vectorCount(): u32 {
  return is64() ? 16 : 8
}

function xmm(i: u32): usize {
  return cpu + CPU_XMM + i * CPU_XMM_STRIDE
}

/** Bytes 0-23 and 32-159 at `to`. */
function writeX87(to: usize, wide: u32): void {
  store<u16>(to, <u16>controlWord())
  store<u16>(to, <u16>fullStatus(), 2)
  store<u16>(to, <u16>load<u32>(cpu, CPU_X87_TAG), 4)
  store<u16>(to, load<u16>(cpu, CPU_X87_FOP), 6)
  const fip = load<u64>(cpu, CPU_X87_FIP)
  const fdp = load<u64>(cpu, CPU_X87_FDP)
  if (wide) {
    store<u64>(to, fip, 8)
    store<u64>(to, fdp, 16)
  } else {
    store<u64>(to, (fip & 0xffff_ffff) | (<u64>load<u16>(cpu, CPU_X87_FCS) << 32), 8)
    store<u64>(to, (fdp & 0xffff_ffff) | (<u64>load<u16>(cpu, CPU_X87_FDS) << 32), 16)
  }
  for (let i: u32 = 0; i < 8; i++) {
    const from = stAddress(i)
    const slot = to + ST_OFFSET + i * 16
    store<u64>(slot, load<u64>(from))
    store<u64>(slot, <u64>load<u16>(from, 8), 8)
  }
}

function readX87(from: usize, wide: u32): void {
  setControlWord(load<u16>(from))
  setFullStatus(load<u16>(from, 2))
  store<u32>(cpu, load<u8>(from, 4), CPU_X87_TAG)
  store<u16>(cpu, load<u16>(from, 6) & 0x7ff, CPU_X87_FOP)
  if (wide) {
    store<u64>(cpu, load<u64>(from, 8), CPU_X87_FIP)
    store<u64>(cpu, load<u64>(from, 16), CPU_X87_FDP)
    store<u16>(cpu, 0, CPU_X87_FCS)
    store<u16>(cpu, 0, CPU_X87_FDS)
  } else {
    store<u64>(cpu, load<u32>(from, 8), CPU_X87_FIP)
    store<u64>(cpu, load<u32>(from, 16), CPU_X87_FDP)
    store<u16>(cpu, load<u16>(from, 12), CPU_X87_FCS)
    store<u16>(cpu, load<u16>(from, 20), CPU_X87_FDS)
  }
  for (let i: u32 = 0; i < 8; i++) {
    const slot = from + ST_OFFSET + i * 16
    const to = stAddress(i)
    store<u64>(to, load<u64>(slot))
    store<u16>(to, load<u16>(slot, 8), 8)
  }
}

function initX87(): void {
  x87_fninit()
  for (let i: u32 = 0; i < 8; i++) {
    store<u64>(stAddress(i), 0)
    store<u16>(stAddress(i), 0, 8)
  }
}

function writeMxcsr(to: usize): void {
  store<u32>(to, load<u32>(cpu, CPU_MXCSR), 24)
  store<u32>(to, MXCSR_MASK, 28)
}

function writeXmm(to: usize): void {
  const count = vectorCount()
  for (let i: u32 = 0; i < count; i++) memory.copy(to + XMM_OFFSET + i * 16, xmm(i), 16)
}

function readXmm(from: usize): void {
  const count = vectorCount()
  for (let i: u32 = 0; i < count; i++) memory.copy(xmm(i), from + XMM_OFFSET + i * 16, 16)
}

function misaligned(gva: u64, mask: u64): bool {
  if (!(gva & mask)) return false
  raise_error(VECTOR_GP, 0)
  return true
}

/** LDMXCSR, VLDMXCSR. */
export function fpu_ldmxcsr(value: u32): void {
  if (value & ~MXCSR_MASK) raise_error(VECTOR_GP, 0)
  else store<u32>(cpu, value, CPU_MXCSR)
}

export function fpu_fxsave(gva: u64, segment: u32, wide: u32): void {
  if (misaligned(gva, 15)) return
  mem_probe(gva, FXSAVE_BYTES, 1, segment)
  if (fault_pending()) return
  const image = cpu + CPU_SCRATCH
  writeX87(image, wide)
  writeMxcsr(image)
  writeXmm(image)
  mem_store_bytes(gva, <u32>image, XMM_OFFSET + vectorCount() * 16, segment)
}

export function fpu_fxrstor(gva: u64, segment: u32, wide: u32): void {
  if (misaligned(gva, 15)) return
  mem_probe(gva, FXSAVE_BYTES, 0, segment)
  if (fault_pending()) return
  const image = cpu + CPU_SCRATCH
  mem_load_bytes(gva, <u32>image, XMM_OFFSET + vectorCount() * 16, segment)
  if (fault_pending()) return
  const mxcsr = load<u32>(image, 24)
  if (mxcsr & ~MXCSR_MASK) {
    raise_error(VECTOR_GP, 0)
    return
  }
  readX87(image, wide)
  store<u32>(cpu, mxcsr, CPU_MXCSR)
  readXmm(image)
}

/** Faults that every XSAVE instruction checks first, in the manual's order. */
function xsaveRefused(gva: u64): bool {
  if (!(load<u32>(cpu, CPU_CR4) & CR4_OSXSAVE)) {
    raise(VECTOR_UD)
    return true
  }
  if (load<u32>(cpu, CPU_CR0) & CR0_TS) {
    raise(VECTOR_NM)
    return true
  }
  return misaligned(gva, 63)
}

/** Requested-feature bitmap: EDX:EAX and XCR0. */
function requested(): u32 {
  return load<u32>(cpu, CPU_RAX) & load<u32>(cpu, CPU_XCR0)
}

/** XINUSE: components that are not in their initial configuration. */
function inUse(): u32 {
  let found: u32 = 0
  const pointers = load<u64>(cpu, CPU_X87_FIP) | load<u64>(cpu, CPU_X87_FDP) | load<u16>(cpu, CPU_X87_FOP)
  let registers: u64 = 0
  for (let i: u32 = 0; i < 8; i++) registers |= load<u64>(stAddress(i)) | load<u16>(stAddress(i), 8)
  const x87 = fullStatus() | load<u32>(cpu, CPU_X87_TAG) | (controlWord() ^ CW_INIT)
  if (x87 != 0 || (pointers | registers) != 0) found |= XSTATE_X87
  let low: u64 = 0
  let high: u64 = 0
  for (let i: u32 = 0; i < vectorCount(); i++) {
    low |= load<u64>(xmm(i)) | load<u64>(xmm(i), 8)
    high |= load<u64>(xmm(i), 16) | load<u64>(xmm(i), 24)
  }
  if (low != 0 || load<u32>(cpu, CPU_MXCSR) != MXCSR_INIT) found |= XSTATE_SSE
  if (high != 0) found |= XSTATE_AVX
  return found
}

/** Stores `count` bytes of the legacy image in scratch at the same offset of the area; faults were probed for. */
function copyOut(gva: u64, segment: u32, offset: u32, count: u32): void {
  mem_store_bytes(gva + offset, <u32>(cpu + CPU_SCRATCH + offset), count, segment)
}

function xsave(gva: u64, segment: u32, wide: u32, skipInitial: bool): void {
  if (xsaveRefused(gva)) return
  const rfbm = requested()
  const image = cpu + CPU_SCRATCH
  const area = rfbm & XSTATE_AVX ? YMM_OFFSET + vectorCount() * 16 : HEADER_OFFSET + HEADER_BYTES
  mem_probe(gva, area, 1, segment)
  if (fault_pending()) return
  mem_load_bytes(gva + HEADER_OFFSET, <u32>image, 8, segment)
  if (fault_pending()) return
  const used = inUse()
  const bv = (load<u64>(image) & ~(<u64>rfbm)) | (used & rfbm)
  const write = skipInitial ? rfbm & used : rfbm
  if (write & XSTATE_X87) {
    writeX87(image, wide)
    copyOut(gva, segment, 0, X87_HEAD)
    copyOut(gva, segment, ST_OFFSET, 128)
  }
  if (write & (XSTATE_SSE | XSTATE_AVX)) {
    writeMxcsr(image)
    copyOut(gva, segment, 24, 8)
  }
  if (write & XSTATE_SSE) {
    writeXmm(image)
    copyOut(gva, segment, XMM_OFFSET, vectorCount() * 16)
  }
  if (write & XSTATE_AVX) {
    const count = vectorCount()
    for (let i: u32 = 0; i < count; i++) memory.copy(image + i * 16, xmm(i) + 16, 16)
    mem_store_bytes(gva + YMM_OFFSET, <u32>image, count * 16, segment)
  }
  store<u64>(image, bv)
  mem_store_bytes(gva + HEADER_OFFSET, <u32>image, 8, segment)
}

export function fpu_xsave(gva: u64, segment: u32, wide: u32): void {
  xsave(gva, segment, wide, false)
}

export function fpu_xsaveopt(gva: u64, segment: u32, wide: u32): void {
  xsave(gva, segment, wide, true)
}

export function fpu_xrstor(gva: u64, segment: u32, wide: u32): void {
  if (xsaveRefused(gva)) return
  const rfbm = requested()
  const image = cpu + CPU_SCRATCH
  const area = rfbm & XSTATE_AVX ? YMM_OFFSET + vectorCount() * 16 : HEADER_OFFSET + HEADER_BYTES
  mem_probe(gva, area, 0, segment)
  if (fault_pending()) return
  mem_load_bytes(gva + HEADER_OFFSET, <u32>image, 24, segment)
  if (fault_pending()) return
  const bv = load<u64>(image)
  if ((bv & ~load<u64>(cpu, CPU_XCR0)) != 0 || (load<u64>(image, 8) | load<u64>(image, 16)) != 0) {
    raise_error(VECTOR_GP, 0)
    return
  }
  const present = <u32>bv & rfbm
  mem_load_bytes(gva, <u32>image, XMM_OFFSET + vectorCount() * 16, segment)
  if (fault_pending()) return
  if (rfbm & (XSTATE_SSE | XSTATE_AVX)) {
    const mxcsr = load<u32>(image, 24)
    if (mxcsr & ~MXCSR_MASK) {
      raise_error(VECTOR_GP, 0)
      return
    }
    store<u32>(cpu, mxcsr, CPU_MXCSR)
  }
  if (rfbm & XSTATE_X87) {
    if (present & XSTATE_X87) readX87(image, wide)
    else initX87()
  }
  if (rfbm & XSTATE_SSE) {
    if (!(present & XSTATE_SSE)) memory.fill(image + XMM_OFFSET, 0, 256)
    readXmm(image)
  }
  if (rfbm & XSTATE_AVX) restoreUpperHalves(gva + YMM_OFFSET, segment, (present & XSTATE_AVX) != 0)
}

function restoreUpperHalves(gva: u64, segment: u32, present: bool): void {
  const image = cpu + CPU_SCRATCH
  const count = vectorCount()
  if (present) mem_load_bytes(gva, <u32>image, count * 16, segment)
  else memory.fill(image, 0, count * 16)
  for (let i: u32 = 0; i < count; i++) memory.copy(xmm(i) + 16, image + i * 16, 16)
}
