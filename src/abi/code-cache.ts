/**
 * The code cache of one vCPU: decoded records, found by guest-physical address and mode. Address in CPU_CODE_CACHE;
 * the machine allocates CACHE_SIZE_MIN bytes or more, zeroed, and stores the size at CACHE_BYTES.
 *
 *   header
 *   jump table     by (gpa, mode), two places for each: what near branches and compiled code look into
 *   page buckets   heads of page lists, hashed by gfn
 *   arena          page structs, blocks (head and records), list items; everything is flushed when it is full
 *
 * Only the owner reads and writes jump table, block heads and records. Other vCPUs read and change page structs, under
 * VM_LOCK_MMU (which chunks of a page are decoded, and the list of pages to drop).
 */

// header
export const CACHE_BYTES = 0 // u32 size of the whole cache
export const CACHE_NEXT = 4 // u32 arena: next free byte
export const CACHE_FLUSHES = 8 // u32 how often the whole arena was dropped: the compiler looks at it
export const CACHE_DROPS = 12 // u32 pages dropped because they were written (statistic)
export const CACHE_BLOCKS = 16 // u32 blocks decoded (statistic)
export const CACHE_READY = 20 // u32 1 once the header is initialised
export const CACHE_PENDING = 24 // u32 page that another thread asks to drop, 0 = none; list through PAGE_PENDING
export const CACHE_FREE_NODES = 28 // u32 free list item; list through NODE_NEXT
export const CACHE_FREE_SIZES = 32 // u64 bit i: there is free memory of i + 1 units
export const CACHE_FREE = 0x40 // ARENA_UNITS_MAX x u32: free memory of i + 1 units; list through its first word
export const CACHE_STEP = 0x280 // record of an instruction executed alone, and its SYNC; 3 records

// jump table: a key is in one of the two entries of its set; the one that came last is first
export const CACHE_JUMP = 0x400
export const CACHE_JUMP_ENTRIES = 0x8000
export const CACHE_JUMP_SHIFT = 4 // 16 bytes: u64 key = gpa << 8 | mode, u32 record
export const CACHE_JUMP_SET = 32 // bytes
export const CACHE_JUMP_RECORD = 8
export const CACHE_JUMP_TAKEN = 12 // u32 how often it was followed

// page buckets: u32 page struct
export const CACHE_PAGES = 0x8_0400
export const CACHE_PAGE_BUCKETS = 0x1000

/** Where a block is decoded before it is known how long it is: records without a head. */
export const CACHE_DECODED = 0x8_4400

export const CACHE_ARENA = 0x8_4c00
/** What memory of the arena is counted in. */
export const ARENA_UNIT = 32
/** A block with its head is not longer. */
export const ARENA_UNITS_MAX = 64
export const CACHE_SIZE_MIN = 0x10_0000
/** What a machine should give each vCPU; the arena is touched only as it fills. */
export const CACHE_SIZE = 0x200_0000

// page struct
export const PAGE_NEXT = 0 // u32 next in its bucket
export const PAGE_GFN = 4 // u32
export const PAGE_CHUNKS = 8 // u64 bit i: bytes 64*i .. 64*i+63 are in a decoded block
export const PAGE_CROSSERS = 16 // u32 block that crosses into this page; list through BLOCK_CROSS_NEXT
export const PAGE_WRITES = 20 // u16 how often it was dropped of late: pages dropped often get short blocks
export const PAGE_EPOCH = 22 // u16 when that was counted
export const PAGE_REGIONS = 24 // u32 list of NODE_*: regions made from bytes of this page
export const PAGE_PENDING = 28 // u32 next page that another thread asks to drop, PENDING_LAST behind the last; 0 = nobody asks
export const PENDING_LAST = 1
export const PAGE_HEADS = 32 // 64 x u32: blocks that start in chunk i
export const PAGE_STRUCT_SIZE = 288

// block head: 32 bytes before its first record
export const BLOCK_NEXT = 0 // u32 next block of the same chunk; when it is free, of the same size
export const BLOCK_CROSS_NEXT = 4 // u32 see PAGE_CROSSERS
export const BLOCK_OFF = 8 // u16 page offset of its first instruction
export const BLOCK_MODE = 10 // u16 CPU_MODE it was decoded for
export const BLOCK_COUNT = 12 // u32 records
export const BLOCK_END = 16 // u32 page offset behind its last instruction
export const BLOCK_SECOND = 20 // u32 struct of the page that it crosses into, which lists it; 0 = none
export const BLOCK_SIZE = 32

// region: compiled code, entered at one record, at CPU_REGIONS. Not used for another: links of others lead there, which is what VALID is for.
export const REGION_VALID = 0 // u32 1 while its code may be entered; after a flush nothing leads here
export const REGION_RECORD = 4 // u32 the record it replaces
export const REGION_INDEX = 8 // u32 its function in the table of compiled code
export const REGION_PENDING = 12 // u32 1 while its code is being made and its pages were not written
export const REGION_SAVED = 16 // 32 bytes: the record as it was
export const REGION_SIZE = 64

// link: where a direct call or jump of compiled code goes; at CPU_REGIONS
export const LINK_REGION = 0 // u32 region, 0 = not linked; it counts while the region is valid
export const LINK_INDEX = 4 // u32 its function
export const LINK_GFN = 8 // u32 page that it was in: another page of the code may be mapped elsewhere by now
export const LINK_SIZE = 16
/** Links of a region's code, at most. */
export const LINKS_MAX = 128

// item of a list of 32-bit words
export const NODE_NEXT = 0 // u32
export const NODE_VALUE = 4 // u32
export const NODE_SIZE = 16
