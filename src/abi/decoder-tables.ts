/**
 * The decoder's binary tables at ISA_TABLES_BASE: written by src/isa/tables.ts from the rows, read by
 * src/kernel/decoder.ts. Offsets in bytes.
 *
 *   0x0000  index: 8 maps x 256 opcodes x u32
 *             bits 0-15 first candidate, 16-23 how many, 31 ModRM follows, 30 ModRM.mod is ignored (always a register)
 *   0x2000  candidates, 40 bytes each, the most specific first
 *
 * A candidate matches when all bits of the query are in its first six bytes:
 *   0 prefix class (one of 4) | 1 mode (one of 3) | 2 REX.W, REX.B, address size | 3 ModRM.mod, VEX.L | 4 ModRM.reg | 5 ModRM.rm
 */
export const DT_INDEX = 0
export const DT_CANDIDATES = 0x2000
export const DT_CANDIDATE_SIZE = 40

export const DT_MAP_ONE = 0
export const DT_MAP_0F = 1
export const DT_MAP_0F38 = 2
export const DT_MAP_0F3A = 3
export const DT_MAP_VEX = 3 // + VEX.mmmmm: 4 = VEX 0F, 5 = VEX 0F 38, 6 = VEX 0F 3A

export const DT_INDEX_MODRM = 0x8000_0000
export const DT_INDEX_MOD_REGISTER = 0x4000_0000

// query bits, 48 of them
export const DT_Q_NP = 1
export const DT_Q_66 = 2
export const DT_Q_F3 = 4
export const DT_Q_F2 = 8
export const DT_Q_LONG = 0x0100 // 64-bit code
export const DT_Q_PROTECTED = 0x0200 // 16- and 32-bit protected mode, compatibility mode
export const DT_Q_REAL = 0x0400 // real and virtual-8086 mode
export const DT_Q_W0 = 0x1_0000
export const DT_Q_W1 = 0x2_0000
export const DT_Q_B0 = 0x4_0000
export const DT_Q_B1 = 0x8_0000
export const DT_Q_A16 = 0x10_0000
export const DT_Q_A32 = 0x20_0000
export const DT_Q_A64 = 0x40_0000
export const DT_Q_REGISTER = 0x100_0000
export const DT_Q_MEMORY = 0x200_0000
export const DT_Q_L0 = 0x400_0000
export const DT_Q_L1 = 0x800_0000
export const DT_Q_REG_SHIFT = 32
export const DT_Q_RM_SHIFT = 40

export const DT_FEATURE = 6 // u8 bit number into CPU_FEATURES, DT_NO_FEATURE = always there
export const DT_NO_FEATURE = 255
export const DT_FLAGS = 7 // u8
export const DT_F_LOCK = 1 // LOCK allowed with a memory operand
export const DT_F_END = 2
export const DT_F_D64 = 4
export const DT_F_F64 = 8
export const DT_F_ATOMIC = 16 // locked without the prefix (XCHG)
export const DT_RM = 8 // u8 DT_REG_*
export const DT_REG = 9
export const DT_VVVV = 10
export const DT_IMM = 11 // u8 DT_IMM_*
export const DT_MEM = 12 // u8 DT_MEM_*
export const DT_HANDLERS = 16 // u16 x 4 forms (R M X L) x 3 operand sizes (16 32 64)
export const DT_HANDLERS_SIZE = 8

/** Register kinds of ModRM.rm, ModRM.reg, VEX.vvvv. */
export const DT_REG_NONE = 0
export const DT_REG_GPR = 1
export const DT_REG_GPR8 = 2
export const DT_REG_XMM = 3
export const DT_REG_MM = 4
export const DT_REG_STI = 5
export const DT_REG_SREG = 6
export const DT_REG_CREG = 7
export const DT_REG_DREG = 8
export const DT_REG_OPCODE = 9 // general register in the low 3 bits of the opcode
export const DT_REG_OPCODE8 = 10

export const DT_IMM_NONE = 0
export const DT_IMM_8 = 1
export const DT_IMM_S8 = 2
export const DT_IMM_16 = 3
export const DT_IMM_Z = 4
export const DT_IMM_V = 5
export const DT_IMM_REL8 = 6
export const DT_IMM_RELZ = 7
export const DT_IMM_MOFFS = 8
export const DT_IMM_PTR = 9
export const DT_IMM_16_8 = 10 // the second one in REC_DISP
export const DT_IMM_IS4 = 11 // vector register number in bits 7:4

export const DT_MEM_MODRM = 0
export const DT_MEM_RDI = 1 // implicit memory operand at rDI
export const DT_MEM_RBX = 2
export const DT_MEM_POP = 3 // an address based on RSP is taken after the pop
export const DT_MEM_VSIB = 4 // the index is a vector register
