/**
 * Where random programs live: linear addresses, the same in 32- and 64-bit code. Linear pages do not lie in the order of
 * physical ones, so that whatever crosses a page shows it.
 */
export const PAGE = 4096

/** Physical, mapped one to one. */
export const TABLES = 0x1000 // up to 0x5000
export const GDT = 0x5000
export const IDT = 0x6000
/** Words that the program and its support code share. */
const CELLS = 0x7000
/** Support code: trace routine and fault handlers. */
export const SUPPORT = 0x8000 // two pages
export const STACK = 0xc000 // two pages
export const STACK_TOP = 0xdf00

/** Code: up to CODE_PAGES pages from an offset in the first. */
export const CODE = 0x1_0000
export const CODE_PAGES = 8
/** The same pages once more, for writers. */
export const CODE_ALIAS = 0x2_0000
export const DATA = 0x3_0000
export const DATA_PAGES = 4
/** Behind the data: mapped by the fault handler when it is touched. */
export const LAZY = DATA + DATA_PAGES * PAGE
export const READ_ONLY = 0x4_0000

export const TRACE = 0x10_0000
export const TRACE_BYTES = 0x8_0000
export const RECORD_BYTES = 0x200

// cells
export const CELL_TRACE = CELLS // pointer into TRACE
export const CELL_FIXUP = CELLS + 0x08 // where a fault goes on
export const CELL_FAULTS = CELLS + 0x10 // faults left
export const CELL_FUEL = CELLS + 0x18 // backward branches left
export const CELL_OUTER = CELLS + 0x20 // rounds left
export const CELL_DEPTH = CELLS + 0x28 // recursion left
export const CELL_DETOUR = CELLS + 0x30 // where a mismatched return goes
export const CELL_IDT = CELLS + 0x40 // an empty IDT's limit and base
export const CELL_MXCSR = CELLS + 0x80 // MXCSR_VALUES
export const CELL_VALUES = CELLS + 0x100 // interesting operands, 32 x 16 bytes

/** Rounding modes, DAZ and FTZ, PE already set; the last one unmasks everything. */
export const MXCSR_VALUES = [0x1f80, 0x1fa0, 0x3fa0, 0x5f80, 0x7fa0, 0x9fc0, 0x0000]

/** Physical page of a linear one. */
export function physical(page: number): number {
  const shuffled = (first: number, at: number, count: number): number =>
    (first / PAGE + ((at * 3 + 1) % count)) * PAGE
  if (page >= CODE && page < CODE + CODE_PAGES * PAGE) return shuffled(0x2_0000, (page - CODE) / PAGE, 8)
  if (page >= CODE_ALIAS && page < CODE_ALIAS + CODE_PAGES * PAGE) return physical(page - CODE_ALIAS + CODE)
  if (page >= DATA && page < DATA + 5 * PAGE) return shuffled(0x3_0000, (page - DATA) / PAGE, 5)
  return page
}

export const FS_BASE = 0x340
