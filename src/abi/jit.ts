/**
 * What the interpreter, the kernel and the compiler of hot code share. Compiled by TypeScript and by AssemblyScript.
 *
 * A branch that was taken often queues its target (kernel/jit.ts). The vCPU leaves run() with EXITREASON_JIT, engine/jit
 * compiles the queue and attaches each region to the record of its first instruction, which becomes HANDLER_REGION.
 */

/** CPU_JIT_MASK: no compilation. */
export const JIT_OFF = 0xffff_ffff
export const JIT_QUEUE_MAX = 64
/** Queued regions at which the vCPU goes to compile at once. */
export const JIT_QUEUE_DUE = 32
/** Slices after which it goes with whatever is queued. */
export const JIT_SLICES_DUE = 24

// queue entry, 32 bytes
export const QUEUE_KEY = 0 // u64 gpa << 8 | mode
export const QUEUE_VPAGE = 8 // u64 linear page
export const QUEUE_ENTRY_SHIFT = 5
/** gfns of the pages at linear distance -1, +1, +2 from the entry's; QUEUE_NO_PAGE = not known. */
export const QUEUE_NEIGHBOURS = 16
export const QUEUE_NO_PAGE = 0xffff_ffff

export const QUEUE_HOT = 28 // u32 1 = reached often enough to compile it

/** Times after which a branch asks whether its target has been compiled already: a power of two. */
export const JIT_LOOKS = 1024

/**
 * Index of the compiled code that every vCPU may use (engine/jit/shared-code.ts), at VM_SHARED_CODE. A hint: a place holds what was entered there
 * last, two words that other threads may be writing.
 */
export const SHARED_SHIFT = 4
export const SHARED_INDEX_BITS = 13
export const SHARED_HASH = 0x9e37_79b1 // place = low 32 bits of the gpa * this >> 32 - SHARED_INDEX_BITS
export const SHARED_KEY = 0 // u64 gpa << 8 | mode, 0 = none
export const SHARED_BATCH = 8 // u32 number of a batch
export const SHARED_REGION = 12 // u32 which of its regions

/** What a region, or the dispatcher between them, returns. */
export const REGION_NEAR = 0 // near transfer to CPU_NEXT_RIP; CPU_BUDGET is what is left
export const REGION_ENTER = 1 // CPU_RIP is set, everything has to be looked at

/** CPU_CC_KIND. Additions and subtractions: + log2 of the operand bytes; operands zero-extended. */
export const CC_NONE = 0
export const CC_CANONICAL = 1 // CC_RES = FL_RES, CC_A = FL_AUX
export const CC_ADD = 4
export const CC_SUB = 8

/** Nested guest calls that run as nested WebAssembly calls. */
export const CALL_DEPTH_MAX = 120

/** Of a vCPU's mailbox to the thread that generates code (engine/jit/mailbox.ts): for a batch, or its module. */
export const JIT_MAILBOX_BYTES = 2 * 1024 * 1024
