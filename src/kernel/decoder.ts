/**
 * Instruction decoder (SDM Vol. 2, chapter 2): bytes to one record of abi/record.ts. It is driven by the tables that
 * src/isa/tables.ts compiles from the rows and knows formats only: prefixes, REX, VEX, ModRM, SIB, immediates.
 *
 * Prefixes, mode, ModRM and address size form a query with one bit per field; a candidate row matches when it has
 * all of them, so that matching is one AND and one compare (see abi/decoder-tables.ts).
 *
 * Limit: a RIP-relative operand more than 2 GiB - 4111 bytes ahead cannot be expressed relative to the page start.
 */
import {
  CPU_SCRATCH,
  CPU_FEATURES,
  CPU_PCBASE,
  CPU_RBP,
  CPU_RBX,
  CPU_RDI,
  CPU_RSI,
  CPU_RSP,
  CPU_SEG,
  CPU_X87,
  CPU_XMM,
  CPU_ZERO,
  ISA_TABLES_BASE,
  MODE_CS64,
  MODE_CS_MASK,
  MODE_FLAT,
  MODE_PE,
  MODE_VM86,
  SEG_CS,
  SEG_DS,
  SEG_FS,
  SEG_GS,
  SEG_SS,
} from '../abi/layout.ts'
import {
  DECODE_MAX_BYTES,
  DECODE_TRUNCATED,
  RECF_ADDRSIZE,
  RECF_END,
  RECF_LOCK,
  RECF_OPSIZE,
  RECF_REP,
  RECF_REPNE,
  RECF_REXW,
  RECSEG_ADD_BASE,
  RECSEG_ASIZE_SHIFT,
  RECSEG_CHECK,
  REC_DISP,
  REC_IMM,
  REC_REG,
} from '../abi/record.ts'
import {
  DT_CANDIDATES,
  DT_CANDIDATE_SIZE,
  DT_FEATURE,
  DT_FLAGS,
  DT_F_ATOMIC,
  DT_F_D64,
  DT_F_END,
  DT_F_F64,
  DT_F_LOCK,
  DT_HANDLERS,
  DT_HANDLERS_SIZE,
  DT_IMM,
  DT_IMM_16,
  DT_IMM_16_8,
  DT_IMM_8,
  DT_IMM_IS4,
  DT_IMM_MOFFS,
  DT_IMM_PTR,
  DT_IMM_REL8,
  DT_IMM_RELZ,
  DT_IMM_S8,
  DT_IMM_V,
  DT_IMM_Z,
  DT_INDEX,
  DT_INDEX_MODRM,
  DT_INDEX_MOD_REGISTER,
  DT_MAP_0F,
  DT_MAP_0F38,
  DT_MAP_0F3A,
  DT_MAP_ONE,
  DT_MAP_VEX,
  DT_MEM,
  DT_MEM_POP,
  DT_MEM_RDI,
  DT_MEM_RBX,
  DT_MEM_VSIB,
  DT_NO_FEATURE,
  DT_Q_66,
  DT_Q_A16,
  DT_Q_B0,
  DT_Q_F2,
  DT_Q_F3,
  DT_Q_L0,
  DT_Q_LONG,
  DT_Q_MEMORY,
  DT_Q_NP,
  DT_Q_PROTECTED,
  DT_Q_REAL,
  DT_Q_REGISTER,
  DT_Q_REG_SHIFT,
  DT_Q_RM_SHIFT,
  DT_Q_W0,
  DT_REG,
  DT_REG_CREG,
  DT_REG_DREG,
  DT_REG_GPR8,
  DT_REG_MM,
  DT_REG_NONE,
  DT_REG_OPCODE,
  DT_REG_OPCODE8,
  DT_REG_SREG,
  DT_REG_STI,
  DT_REG_XMM,
  DT_RM,
  DT_VVVV,
} from '../abi/decoder-tables.ts'
import { cpu } from './state.ts'

/** As in src/isa/handlers.ts. */
const HANDLER_UD: u32 = 4
const HANDLER_GP: u32 = 5

const REX_W: u32 = 8
const REX_R: u32 = 4
const REX_X: u32 = 2
const REX_B: u32 = 1

const FORM_R: u32 = 0
const FORM_M: u32 = 1
const FORM_X: u32 = 2
const FORM_L: u32 = 3

const MAX_BYTES: u32 = DECODE_MAX_BYTES
const NO_SEGMENT: u32 = 8
/** Where a truncated tail is completed with zeros (the last scratch slots): reading ahead must not leave the memory. */
const STAGING: usize = CPU_SCRATCH + 0x180
const STAGING_BYTES: u32 = 64

// State of one decode_one() call.
let at: usize = 0 // next byte
let start: usize = 0
let long: bool = false
let codeSize: u32 = 0 // 0 = 16, 1 = 32, 2 = 64
let addressSize: u32 = 0
let operandSize: u32 = 0 // 0 = 16, 1 = 32, 2 = 64
let prefixFlags: u32 = 0 // RECF_*
let prefixClass: u32 = 0 // DT_Q_NP .. DT_Q_F2
let rex: u32 = 0 // the byte 40-4F, or 0; VEX sets the same bits
let segmentOverride: u32 = NO_SEGMENT
let vexLength: u32 = 0
let vvvv: u32 = 0 // the field, must be 0 where it is unused; 32-bit code ignores bit 3 of a register in it
let vex: bool = false

// Results of the effective address.
let base: u32 = 0
let index: u32 = 0
let scale: u32 = 0
let disp: i32 = 0
let segment: u32 = 0
let ripRelative: bool = false

/**
 * Decodes the instruction at `code` (host address, `avail` bytes of it readable as code) into the record at `rec`.
 * mode = CPU_MODE; pageOff = its offset in the guest page. Returns its length, or DECODE_TRUNCATED when it needs more than
 * `avail` bytes. An invalid opcode gives a #UD record, more than 15 bytes a #GP record.
 */
export function decode_one(code: usize, avail: u32, mode: u32, pageOff: u32, rec: usize): i32 {
  start = code
  if (avail < STAGING_BYTES) {
    start = cpu + STAGING
    memory.fill(start, 0, STAGING_BYTES)
    memory.copy(start, code, avail)
  }
  at = start
  const valid = decode(mode, pageOff, rec)
  const length = <u32>(at - start)
  if (length > MAX_BYTES) {
    if (avail < MAX_BYTES) return DECODE_TRUNCATED
    emitFault(HANDLER_GP, MAX_BYTES, pageOff, rec)
    return DECODE_MAX_BYTES
  }
  if (length > avail) return DECODE_TRUNCATED
  if (!valid) emitFault(HANDLER_UD, length, pageOff, rec)
  return length
}

function emitFault(handler: u32, length: u32, pageOff: u32, rec: usize): void {
  store<u64>(rec, <u64>handler | ((<u64>length) << 16) | ((<u64>RECF_END) << 24) | ((<u64>pageOff) << 32))
  store<u64>(rec + 8, (<u64>CPU_ZERO << 16) | (<u64>CPU_ZERO << 32))
  store<u64>(rec + 16, 0)
  store<u64>(rec + 24, 0)
}

/** False: #UD. `at` is behind the bytes that were looked at. */
function decode(mode: u32, pageOff: u32, rec: usize): bool {
  codeSize = mode & MODE_CS_MASK
  long = codeSize == MODE_CS64
  vex = false
  vexLength = 0
  vvvv = 0
  readPrefixes()
  if (<u32>(at - start) >= MAX_BYTES) {
    at = start + MAX_BYTES + 1
    return false
  }

  let opcode: u32 = load<u8>(at++)
  let map: u32 = DT_MAP_ONE
  if (opcode == 0x0f) {
    opcode = load<u8>(at++)
    map = DT_MAP_0F
    if (opcode == 0x38) {
      map = DT_MAP_0F38
      opcode = load<u8>(at++)
    } else if (opcode == 0x3a) {
      map = DT_MAP_0F3A
      opcode = load<u8>(at++)
    }
  } else if ((opcode == 0xc4 || opcode == 0xc5) && (long || load<u8>(at) >= 0xc0)) {
    map = readVex(opcode)
    if (map == DT_MAP_ONE) return false
    opcode = load<u8>(at++)
  }

  const entry = load<u32>(ISA_TABLES_BASE + DT_INDEX + (map << 10) + (opcode << 2))
  let modrm: u32 = 0xc0
  if (entry & <u32>DT_INDEX_MODRM) {
    modrm = load<u8>(at++)
    if (entry & <u32>DT_INDEX_MOD_REGISTER) modrm |= 0xc0
  }
  const candidate = match(entry, modrm, mode)
  if (candidate == 0) return false
  return emit(candidate, opcode, modrm, mode, pageOff, rec)
}

function readPrefixes(): void {
  let flags: u32 = 0
  let rexByte: u32 = 0
  let segmentPrefix: u32 = NO_SEGMENT
  let p = at
  const limit = p + MAX_BYTES
  while (p < limit) {
    const byte: u32 = load<u8>(p)
    if (long && (byte & 0xf0) == 0x40) {
      rexByte = byte
    } else {
      if ((byte & 0xe7) == 0x26) {
        if (!long) segmentPrefix = (byte >> 3) & 3
      } else if ((byte & 0xfc) == 0x64) {
        if (byte == 0x66) flags |= RECF_OPSIZE
        else if (byte == 0x67) flags |= RECF_ADDRSIZE
        else segmentPrefix = byte == 0x64 ? SEG_FS : SEG_GS
      } else if (byte == 0xf3) {
        flags = (flags & ~RECF_REPNE) | RECF_REP
      } else if (byte == 0xf2) {
        flags = (flags & ~RECF_REP) | RECF_REPNE
      } else if (byte == 0xf0) {
        flags |= RECF_LOCK
      } else {
        break
      }
      rexByte = 0 // REX counts only directly in front of the opcode
    }
    p++
  }
  at = p
  rex = rexByte
  segmentOverride = segmentPrefix
  addressSize = (flags & RECF_ADDRSIZE) ? (codeSize == 1 ? 0 : 1) : codeSize
  prefixClass =
    flags & RECF_REP ? DT_Q_F3 : flags & RECF_REPNE ? DT_Q_F2 : flags & RECF_OPSIZE ? DT_Q_66 : DT_Q_NP
  prefixFlags = flags | (rexByte & REX_W ? RECF_REXW : 0)
}

/** C4 and C5 prefixes: gives the opcode map, 0 = #UD. */
function readVex(escape: u32): u32 {
  if (rex != 0 || prefixFlags & (RECF_OPSIZE | RECF_REP | RECF_REPNE | RECF_LOCK)) return DT_MAP_ONE
  let selector: u32 = 1
  let byte: u32 = load<u8>(at++)
  let bits: u32 = byte & 0x80 ? 0 : REX_R
  if (escape == 0xc4) {
    if (!(byte & 0x40)) bits |= REX_X
    if (!(byte & 0x20)) bits |= REX_B
    selector = byte & 0x1f
    byte = load<u8>(at++)
    if (byte & 0x80) bits |= REX_W
  }
  if (selector < 1 || selector > 3) return DT_MAP_ONE
  // outside 64-bit code there are 8 registers, but W is part of the opcode still
  if (!long) bits &= REX_W
  vex = true
  rex = bits
  vvvv = (~byte >> 3) & 15
  vexLength = (byte >> 2) & 1
  prefixClass = 1 << (byte & 3)
  if (long && bits & REX_W) prefixFlags |= RECF_REXW
  return DT_MAP_VEX + selector
}

/** First candidate of the opcode that takes the query and whose feature the model has; 0 = none. */
// @ts-ignore: AssemblyScript decorator
@inline
function match(entry: u32, modrm: u32, mode: u32): usize {
  const modeBit: u32 = long ? DT_Q_LONG : (mode & (MODE_PE | MODE_VM86)) == MODE_PE ? DT_Q_PROTECTED : DT_Q_REAL
  const low: u32 =
    prefixClass |
    modeBit |
    (rex & REX_W ? DT_Q_W0 << 1 : DT_Q_W0) |
    (rex & REX_B ? DT_Q_B0 << 1 : DT_Q_B0) |
    (DT_Q_A16 << addressSize) |
    (modrm >= 0xc0 ? DT_Q_REGISTER : DT_Q_MEMORY) |
    (DT_Q_L0 << vexLength)
  const query: u64 =
    <u64>low | ((<u64>1) << (DT_Q_REG_SHIFT + ((modrm >> 3) & 7))) | ((<u64>1) << (DT_Q_RM_SHIFT + (modrm & 7)))
  let candidate: usize = ISA_TABLES_BASE + DT_CANDIDATES + (entry & 0xffff) * DT_CANDIDATE_SIZE
  for (let left = (entry >> 16) & 0xff; left != 0; left--) {
    if ((load<u64>(candidate) & query) == query) {
      const feature: u32 = load<u8>(candidate, DT_FEATURE)
      if (feature == DT_NO_FEATURE) return candidate
      if ((load<u8>(cpu + (feature >> 3), CPU_FEATURES) >> <u8>(feature & 7)) & 1) return candidate
    }
    candidate += DT_CANDIDATE_SIZE
  }
  return 0
}

function emit(candidate: usize, opcode: u32, modrm: u32, mode: u32, pageOff: u32, rec: usize): bool {
  const flags: u32 = load<u8>(candidate, DT_FLAGS)
  operandSize = operandSizeOf(flags)
  const memoryKind: u32 = load<u8>(candidate, DT_MEM)
  const immKind: u32 = load<u8>(candidate, DT_IMM)

  base = CPU_ZERO
  index = CPU_ZERO
  scale = 0
  disp = 0
  ripRelative = false
  segment = SEG_DS
  let rm: u32 = 0
  let isMemory = true
  if (modrm < 0xc0) {
    if (addressSize == 0) readAddress16(modrm)
    else readAddress(modrm, memoryKind == DT_MEM_VSIB)
    if (memoryKind == DT_MEM_POP && base == CPU_RSP) disp += 2 << operandSize
  } else if (memoryKind == DT_MEM_RDI) {
    base = CPU_RDI // its ModRM names registers, so it is a register form
    isMemory = false
  } else if (memoryKind == DT_MEM_RBX) {
    base = CPU_RBX
  } else {
    isMemory = immKind == DT_IMM_MOFFS
  }
  if (modrm >= 0xc0) rm = registerOffset(load<u8>(candidate, DT_RM), (modrm & 7) | ((rex & REX_B) << 3))

  const regKind: u32 = load<u8>(candidate, DT_REG)
  let reg: u32 = 0
  if (regKind == DT_REG_OPCODE) reg = ((opcode & 7) | ((rex & REX_B) << 3)) << 3
  else if (regKind == DT_REG_OPCODE8) reg = registerOffset(DT_REG_GPR8, (opcode & 7) | ((rex & REX_B) << 3))
  else if (regKind != DT_REG_NONE) {
    const number = ((modrm >> 3) & 7) | ((rex & REX_R) << 1)
    if (!registerExists(regKind, number)) return false
    reg = registerOffset(regKind, number)
  }
  const vvvvKind: u32 = load<u8>(candidate, DT_VVVV)
  if (vvvvKind == DT_REG_NONE && vvvv != 0) return false
  const link: u32 = vvvvKind == DT_REG_NONE ? 0 : registerOffset(vvvvKind, long ? vvvv : vvvv & 7)

  const segByte = segmentByte(mode)
  let form: u32 = FORM_R
  let outFlags = prefixFlags
  if (isMemory) {
    const simple =
      index == CPU_ZERO && (segByte & (RECSEG_ADD_BASE | RECSEG_CHECK)) == 0 && addressSize == codeSize && immKind != DT_IMM_MOFFS
    form = simple ? FORM_M : FORM_X
    if (flags & DT_F_ATOMIC) outFlags |= RECF_LOCK
  }
  if (prefixFlags & RECF_LOCK && !(isMemory && flags & DT_F_LOCK)) return false
  if (outFlags & RECF_LOCK) form = FORM_L

  const imm = readImmediate(immKind, pageOff)
  const length = <u32>(at - start)
  if (ripRelative) disp += pageOff + length
  if (immKind == DT_IMM_16_8) {
    disp = <i32>(imm >> 16)
  }
  const handler: u64 = load<u16>(candidate + operandSize * DT_HANDLERS_SIZE + (form << 1), DT_HANDLERS)
  if (flags & DT_F_END) outFlags |= RECF_END
  store<u64>(
    rec,
    handler | ((<u64>length) << 16) | ((<u64>outFlags) << 24) | ((<u64>pageOff) << 32) | ((<u64>rm) << 48),
  )
  store<u64>(
    rec,
    <u64>reg | ((<u64>base) << 16) | ((<u64>index) << 32) | ((<u64>scale) << 48) | ((<u64>segByte) << 56),
    REC_REG,
  )
  store<u64>(rec, <u64>(<u32>disp) | ((<u64>link) << 32), REC_DISP)
  store<u64>(rec, immKind == DT_IMM_16_8 ? imm & 0xffff : imm, REC_IMM)
  return handler != HANDLER_UD
}

// @ts-ignore: AssemblyScript decorator
@inline
function operandSizeOf(flags: u32): u32 {
  const toggled = (prefixFlags & RECF_OPSIZE) != 0
  if (!long) return (codeSize == 1) != toggled ? 1 : 0
  if (flags & DT_F_F64 || rex & REX_W) return 2
  if (toggled) return 0
  return flags & DT_F_D64 ? 2 : 1
}

/** What ModRM.reg may say of a special register. */
// @ts-ignore: AssemblyScript decorator
@inline
function registerExists(kind: u32, number: u32): bool {
  if (kind == DT_REG_CREG) return ((0x11d >> number) & 1) != 0 // CR0, 2, 3, 4, 8
  if (kind == DT_REG_DREG) return number < 8
  if (kind == DT_REG_SREG) return (number & 7) < 6
  return true
}

/** CPU-struct offset of a register operand; the number itself for sti, creg, dreg and sreg. */
// @ts-ignore: AssemblyScript decorator
@inline
function registerOffset(kind: u32, number: u32): u32 {
  switch (kind) {
    case DT_REG_NONE:
      return 0
    case DT_REG_GPR8:
      // without REX the numbers 4-7 are AH, CH, DH, BH: byte 1 of the first four
      return number >= 4 && number < 8 && rex == 0 && !vex ? ((number - 4) << 3) + 1 : number << 3
    case DT_REG_XMM:
      return CPU_XMM + (number << 6)
    case DT_REG_MM:
      return CPU_X87 + ((number & 7) << 4)
    case DT_REG_STI:
    case DT_REG_SREG:
      return number & 7
    case DT_REG_CREG:
    case DT_REG_DREG:
      return number
    default:
      return number << 3
  }
}

// --- addresses --------------------------------------------------------------------------------------------------

/** SDM Vol. 2, Table 2-1. */
function readAddress16(modrm: u32): void {
  const mod = modrm >> 6
  const rm = modrm & 7
  if (mod == 0 && rm == 6) {
    disp = load<i16>(at)
    at += 2
    return
  }
  switch (rm) {
    case 0:
    case 1:
    case 7:
      base = CPU_RBX
      break
    case 2:
    case 3:
    case 6:
      base = CPU_RBP
      segment = SEG_SS
      break
    case 4:
      base = CPU_RSI
      break
    default:
      base = CPU_RDI
  }
  if (rm < 4) index = rm & 1 ? CPU_RDI : CPU_RSI
  readDisplacement(mod, 2)
}

/** SDM Vol. 2, Tables 2-2 and 2-3. */
function readAddress(modrm: u32, vectorIndex: bool): void {
  const mod = modrm >> 6
  let number = modrm & 7
  if (number == 4) {
    const sib: u32 = load<u8>(at++)
    const indexNumber = ((sib >> 3) & 7) | ((rex & REX_X) << 2)
    if (vectorIndex) {
      index = CPU_XMM + (indexNumber << 6)
      scale = sib >> 6
    } else if (indexNumber != 4) {
      index = indexNumber << 3
      scale = sib >> 6
    }
    number = sib & 7
  } else if (number == 5 && mod == 0) {
    readDisplacement(2, 4)
    ripRelative = long
    if (long) base = CPU_PCBASE
    return
  }
  if (number == 5 && mod == 0) {
    readDisplacement(2, 4)
    return
  }
  number |= (rex & REX_B) << 3
  base = number << 3
  if (number == 4 || number == 5) segment = SEG_SS
  readDisplacement(mod, 4)
}

/** mod 1: 8 bits; mod 2: `full` bytes. */
// @ts-ignore: AssemblyScript decorator
@inline
function readDisplacement(mod: u32, full: u32): void {
  if (mod == 1) {
    disp = load<i8>(at++)
  } else if (mod == 2) {
    disp = full == 4 ? load<i32>(at) : load<i16>(at)
    at += full
  }
}

/** REC_SEG: in 64-bit code only FS and GS have a base, and overrides by the others were ignored. */
// @ts-ignore: AssemblyScript decorator
@inline
function segmentByte(mode: u32): u32 {
  const effective = segmentOverride != NO_SEGMENT ? segmentOverride : segment
  let byte = effective | (addressSize << RECSEG_ASIZE_SHIFT)
  const based = effective >= <u32>SEG_FS
  if (long) return based ? byte | RECSEG_ADD_BASE : byte
  // CS is never writable, flat or not
  if (based || effective == SEG_CS || !(mode & MODE_FLAT)) byte |= RECSEG_ADD_BASE | RECSEG_CHECK
  return byte
}

// --- immediates -------------------------------------------------------------------------------------------------

function readImmediate(kind: u32, pageOff: u32): u64 {
  switch (kind) {
    case DT_IMM_8:
      return load<u8>(at++)
    case DT_IMM_S8: {
      const value: i64 = load<i8>(at++)
      return operandSize == 0 ? value & 0xffff : value
    }
    case DT_IMM_16:
      at += 2
      return load<u16>(at - 2)
    case DT_IMM_Z:
      if (operandSize == 0) {
        at += 2
        return load<u16>(at - 2)
      }
      at += 4
      return <i64>load<i32>(at - 4)
    case DT_IMM_V:
      return readSized(operandSize)
    case DT_IMM_REL8: {
      const offset: i64 = load<i8>(at++)
      return offset + <i64>(pageOff + <u32>(at - start))
    }
    case DT_IMM_RELZ: {
      let offset: i64
      if (operandSize == 0) {
        offset = load<i16>(at)
        at += 2
      } else {
        offset = load<i32>(at)
        at += 4
      }
      return offset + <i64>(pageOff + <u32>(at - start))
    }
    case DT_IMM_MOFFS:
      return readSized(addressSize)
    case DT_IMM_PTR: {
      const offset = readSized(operandSize)
      at += 2
      return offset | ((<u64>load<u16>(at - 2)) << 32)
    }
    case DT_IMM_IS4:
      return CPU_XMM + (((<u64>load<u8>(at++) >> 4) & (long ? 15 : 7)) << 6)
    case DT_IMM_16_8:
      at += 3
      return <u64>load<u16>(at - 3) | ((<u64>load<u8>(at - 1)) << 16)
    default:
      return 0
  }
}

/** A zero-extended value of 2, 4 or 8 bytes. */
function readSized(size: u32): u64 {
  if (size == 0) {
    at += 2
    return load<u16>(at - 2)
  }
  if (size == 1) {
    at += 4
    return load<u32>(at - 4)
  }
  at += 8
  return load<u64>(at - 8)
}
