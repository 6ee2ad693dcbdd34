/** Cases and results as oracle.c lays them out; offsets in bytes. */
export const STATE_GPR = 0 // 16 x u64
export const STATE_RIP = 128
export const STATE_RFLAGS = 136
export const STATE_FX = 144 // FXSAVE64 image
export const STATE_YMM = 656 // bits 255:128 of YMM0..15, 16 bytes each
export const STATE_WINDOW = 912
export const STATE_BYTES = 2192

export const REQUEST_CODE = 2192 // 16 bytes
export const REQUEST_OFFSET = 2208 // u32
export const REQUEST_MODE = 2212 // u32, a Mode of modes.ts
export const REQUEST_BYTES = 2216

export const RESULT_VECTOR = 2192
export const RESULT_ERROR = 2196
export const RESULT_ADDRESS = 2200
export const RESULT_SELECTORS = 2208 // 8 x u16: ES CS SS DS FS GS
export const RESULT_BYTES = 2224

export const CODE_GVA = 0x1000_0000
export const DATA_GVA = 0x2000_0000
export const DATA_BYTES = 0x2000
export const READ_ONLY_GVA = 0x3000_0000
export const WINDOW_A = DATA_GVA + 0x0f00
export const WINDOW_A_BYTES = 1024
export const WINDOW_B = DATA_GVA + 0x1f00
export const WINDOW_B_BYTES = 256
export const WINDOW_BYTES = WINDOW_A_BYTES + WINDOW_B_BYTES

/** Offset in the window bytes of a gva, or -1. */
export function windowOffset(gva: number): number {
  if (gva >= WINDOW_A && gva < WINDOW_A + WINDOW_A_BYTES) return gva - WINDOW_A
  if (gva >= WINDOW_B && gva < WINDOW_B + WINDOW_B_BYTES) return gva - WINDOW_B + WINDOW_A_BYTES
  return -1
}

export const VECTOR_TIMEOUT = 256

// FXSAVE image (SDM Vol. 1, 10.5.1)
export const FX_CW = 0
export const FX_SW = 2
export const FX_TAG = 4 // abridged
export const FX_MXCSR = 24
export const FX_ST = 32 // ST(0)..ST(7), 16 bytes each
export const FX_XMM = 160
