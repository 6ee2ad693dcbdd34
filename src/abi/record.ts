/**
 * Decoded-instruction record: what the decoder writes and the interpreter and JIT read. 32 bytes, consecutive
 * records are consecutive instructions of one block; a block never leaves its guest page.
 * Records are position independent: they speak of the page offset, never of a linear address.
 *
 *   0 u16 op      handler number (generated; row x width x operand form)
 *   2 u8  len     instruction length 1..15
 *   3 u8  flags   RECF_*
 *   4 u16 off     offset of the instruction in its page
 *   6 u16 rm      CPU-struct offset of the ModRM.rm register operand (register forms)
 *   8 u16 reg     CPU-struct offset of the ModRM.reg (or opcode-encoded) register operand
 *  10 u16 base    CPU-struct offset of the EA base register, CPU_ZERO if none, CPU_PCBASE if RIP-relative
 *                 (disp is then relative to the page start)
 *  12 u16 index   CPU-struct offset of the EA index register, CPU_ZERO if none
 *  14 u8  scale   shift count 0..3
 *  15 u8  seg     bits 0-2 segment register of the memory operand; bit 3: its base must be added (FS, GS, or not flat);
 *                 bits 4-5 address size 0=16 1=32 2=64; bit 6: limit and type must be checked (legacy, not flat)
 *  16 i32 disp    sign-extended displacement; of a direct branch: how often it was taken
 *  20 u32 link    address of the record of a direct branch target in the same page, 0 = not linked yet;
 *                 or VEX.vvvv register offset in the low half (no branch has both)
 *  24 i64 imm     immediate, sign- or zero-extended as the row says; for direct branches the target's offset
 *                 relative to the page start (may lie outside the page)
 */
export const REC_SIZE = 32
export const REC_OP = 0
export const REC_LEN = 2
export const REC_FLAGS = 3
export const REC_OFF = 4
export const REC_RM = 6
export const REC_REG = 8
export const REC_BASE = 10
export const REC_INDEX = 12
export const REC_SCALE = 14
export const REC_SEG = 15
export const REC_DISP = 16
export const REC_TAKEN = 16 // u32 of a direct branch: how often it was taken
export const REC_LINK = 20
export const REC_VVVV = 20
export const REC_IMM = 24

export const RECF_LOCK = 1
export const RECF_REP = 2 // F3
export const RECF_REPNE = 4 // F2
/** The block ends after this instruction (unconditional branch, or state that decoding depends on may change). */
export const RECF_END = 8
export const RECF_OPSIZE = 0x10 // 66 prefix present
export const RECF_REXW = 0x20
export const RECF_ADDRSIZE = 0x40 // 67 prefix present
export const RECF_WARM = 0x80 // was asked for compilation once (kernel/jit.ts)

export const RECSEG_REG_MASK = 7
export const RECSEG_ADD_BASE = 8
export const RECSEG_ASIZE_SHIFT = 4
export const RECSEG_CHECK = 0x40

// decode_one() results
export const DECODE_TRUNCATED = 0 // the bytes given ended inside the instruction
export const DECODE_MAX_BYTES = 15
