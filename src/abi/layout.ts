/**
 * Where everything that threads share lives in the one shared WebAssembly.Memory.
 *
 * Compiled by TypeScript and by AssemblyScript, so only `export const NAME = number` may stand here.
 * AssemblyScript infers i64 for constants of 0x8000_0000 and up: cast them, <u32>FRAME_PRESENT.
 * All offsets and sizes are in bytes. `CPU_*` are offsets into a CPU struct, `VM_*` into a VM struct,
 * `POOL_*` absolute addresses. Every word that two threads touch is naturally aligned.
 *
 *   0x0000_0000  never used: address 0 means "none"
 *   0x0000_1000  POOL: arena and frame allocator, one for the whole memory
 *   0x0001_0000  constants of kernel.wasm (asc --memoryBase)
 *   0x0005_0000  ISA tables for the decoder (generated from src/isa rows)
 *   0x0010_0000  arena: VM structs, CPU structs, frame maps, code caches, then 4 KiB frames from the top of it
 */

export const POOL_BASE = 0x1000
export const POOL_LOCK = 0x1000 // u32 spin lock
export const POOL_ARENA_NEXT = 0x1004 // u32 next free arena byte (4 KiB aligned allocations)
export const POOL_FRAME_FIRST = 0x1008 // u32 first frame number ever handed out
export const POOL_FRAME_NEXT = 0x100c // u32 bump: next never-used frame number
export const POOL_FRAME_LIMIT = 0x1010 // u32 frames at or above this do not exist
export const POOL_FREE_HEAD = 0x1014 // u32 head of the free list (frame number; next link in the frame's first word), 0 = empty
export const POOL_FREE_COUNT = 0x1018 // u32
export const POOL_EXHAUSTED = 0x101c // u32 sticky: a vCPU wanted a frame and got none

export const KERNEL_DATA_BASE = 0x0001_0000
export const ISA_TABLES_BASE = 0x0005_0000
export const ISA_TABLES_MAX = 0x0009_0000 // bytes
export const ARENA_BASE = 0x0010_0000

export const PAGE_SIZE = 4096
export const PAGE_SHIFT = 12

// --- CPU struct: registers first, so that a record's u16 offsets reach all of them -----------------------------

export const CPU_SIZE = 0x8000

export const CPU_GPR = 0x000 // 16 x u64 rax rcx rdx rbx rsp rbp rsi rdi r8..r15 (r16..r31 reserved up to 0x100)
export const CPU_RAX = 0x000
export const CPU_RCX = 0x008
export const CPU_RDX = 0x010
export const CPU_RBX = 0x018
export const CPU_RSP = 0x020
export const CPU_RBP = 0x028
export const CPU_RSI = 0x030
export const CPU_RDI = 0x038
export const CPU_R8 = 0x040
export const CPU_R11 = 0x058
export const CPU_ZERO = 0x100 // u64 always 0: "no base", "no index", flat segment base
export const CPU_PCBASE = 0x108 // u64 RIP of the first byte of the current code page (RIP space, so CS.base is not in it)
export const CPU_RIP = 0x110 // u64 RIP of the instruction being executed; exact only at sync points
export const CPU_NEXT_RIP = 0x118 // u64 RIP after it; a helper that transfers control writes it

/**
 * Lazy arithmetic flags: a result and a carry vector (see src/isa/flags.ts for the formulas).
 *   FL_RES i64: result sign-extended from the operand width; ZF = (FL_RES == 0)
 *   FL_AUX u32: bit 31 CF, bit 30 "partial overflow" (OF = bit31 ^ bit30), bit 3 AF,
 *               bit 8..15 PDB (PF = parity(low byte of FL_RES ^ PDB)), bit 0 SD (SF = FL_RES<63> ^ SD)
 */
export const CPU_FL_RES = 0x120
export const CPU_FL_AUX = 0x128
export const CPU_EFLAGS = 0x12c // u32 RFLAGS without the six arithmetic flags; bit 1 always set

export const CPU_SEG = 0x140 // ES CS SS DS FS GS LDTR TR GDTR IDTR, 32 bytes each
export const CPU_SEG_STRIDE = 32
export const SEG_BASE = 0 // u64
export const SEG_LIMIT = 8 // u32, byte granular
export const SEG_ATTR = 12 // u32 descriptor bits: type 0-3, S 4, DPL 5-6, P 7, AVL 8, L 9, D/B 10, G 11, unusable 16
export const SEG_SELECTOR = 16 // u16
export const SEG_ES = 0
export const SEG_CS = 1
export const SEG_SS = 2
export const SEG_DS = 3
export const SEG_FS = 4
export const SEG_GS = 5
export const SEG_LDTR = 6
export const SEG_TR = 7
export const SEG_GDTR = 8
export const SEG_IDTR = 9
export const SEG_ATTR_UNUSABLE = 0x10000
export const CPU_CS_BASE = 0x160
export const CPU_FS_BASE = 0x1c0
export const CPU_GS_BASE = 0x1e0

export const CPU_CR0 = 0x280
export const CPU_CR2 = 0x288
export const CPU_CR3 = 0x290
export const CPU_CR4 = 0x298
export const CPU_EFER = 0x2a0
export const CPU_XCR0 = 0x2a8
export const CPU_DR0 = 0x2b0 // DR0..DR3 u64
export const CPU_DR6 = 0x2d0
export const CPU_DR7 = 0x2d8
export const CPU_PDPTE = 0x2e0 // 4 x u64, PAE paging

export const CPU_MSR_STAR = 0x300
export const CPU_MSR_LSTAR = 0x308
export const CPU_MSR_CSTAR = 0x310
export const CPU_MSR_SFMASK = 0x318
export const CPU_MSR_KERNEL_GS_BASE = 0x320
export const CPU_MSR_SYSENTER_CS = 0x328
export const CPU_MSR_SYSENTER_ESP = 0x330
export const CPU_MSR_SYSENTER_EIP = 0x338
export const CPU_MSR_TSC_AUX = 0x340
export const CPU_MSR_TSC_ADJUST = 0x348
export const CPU_MSR_TSC_DEADLINE = 0x350
export const CPU_MSR_APIC_BASE = 0x358
export const CPU_MSR_PAT = 0x360
export const CPU_MSR_MISC_ENABLE = 0x368
export const CPU_MSR_MTRR_DEF_TYPE = 0x370
export const CPU_MSR_SPEC_CTRL = 0x378
export const CPU_MSR_MTRR_FIX = 0x380 // 11 x u64
export const CPU_MSR_MTRR_VAR = 0x3d8 // 8 x (base, mask)
export const CPU_MSR_XSS = 0x458
export const CPU_MSR_KVM_SYSTEM_TIME = 0x460
export const CPU_MSR_KVM_WALL_CLOCK = 0x468
export const CPU_MSR_KVM_STEAL_TIME = 0x470
export const CPU_MSR_KVM_PV_EOI = 0x478
export const CPU_MSR_KVM_ASYNC_PF = 0x480
export const CPU_MSR_KVM_POLL_CONTROL = 0x488
export const CPU_MSR_SMBASE = 0x490
export const CPU_MSR_MCG_STATUS = 0x498

// --- run state -------------------------------------------------------------------------------------------------

export const CPU_VM = 0x500 // u32 address of the VM struct
export const CPU_INDEX = 0x504 // u32 vCPU number = initial APIC id
export const CPU_MODE = 0x508 // u32 MODE_* bits: everything that decoding depends on
export const CPU_CPL = 0x50c // u32
export const CPU_AMASK = 0x510 // u64 address-size mask of the current code size
export const CPU_SMASK = 0x518 // u64 stack-pointer mask (0xffff, 0xffff_ffff or all ones)
export const CPU_TLB = 0x520 // u32 address of the TLB bank in force (chosen from CPL, SMAP, AC)
export const CPU_TLB_BANKS = 0x524 // u32 address of the TLB, TLB_BYTES long
/** u32 pending fault: FAULT_VALID | FAULT_HAS_ERROR | vector. Written by helpers, cleared by delivery. */
export const CPU_FAULT = 0x528
export const CPU_FAULT_ERROR = 0x52c // u32
export const CPU_FAULT_GVA = 0x530 // u64, becomes CR2 for #PF
export const CPU_REQ = 0x538 // u32 REQ_* bits set by other threads or by this one; polled at block ends; halted vCPUs wait on it
export const CPU_RUNSTATE = 0x53c // u32 RUN_*
export const CPU_INHIBIT = 0x540 // u32 interrupt shadow: 1 = after STI, 2 = after MOV SS
export const CPU_BUDGET = 0x544 // i32 instructions left before the clock is looked at
export const CPU_INSNS = 0x548 // u64 instructions retired (statistic)
export const CPU_EXITREASON = 0x550 // u32 EXITREASON_*: why enter() returned 0
export const CPU_SCRATCH_RIP = 0x558 // u64
export const CPU_IN_GUEST = 0x560 // u32 1 while guest code may run; 0 while halted, exited or stopped
export const CPU_AVX_GATE = 0x564 // u32 nonzero: AVX instructions fault (CR4.OSXSAVE or XCR0 lack AVX, or CR0.TS); fpu_check(3) knows how
export const CPU_CODE_VPAGE = 0x568 // u64 linear page of PCBASE, for same-page checks
export const CPU_CODE_GPA = 0x570 // u64 its guest-physical page
export const CPU_PREV_DELIVERY = 0x578 // u32 vector class being delivered (double fault detection)
export const CPU_TRACE = 0x57c // u32 TRACE_* bits
export const CPU_SINGLE = 0x580 // u32 nonzero: decode one instruction at a time (TF, breakpoints, trace)
export const CPU_NMI_BLOCKED = 0x584
export const CPU_RMW_ADDR = 0x588 // u32 mem_rmw_begin in progress on the bounce buffer
export const CPU_DEADLINE = 0x590 // f64 ns of the next local timer event, Infinity = none
export const CPU_HALT_NS = 0x598 // f64 total time halted
export const CPU_CODE_CACHE = 0x5a0 // u32 address of this vCPU's code cache (see CACHE_* in engine)
export const CPU_TSC_NEAR = 0x5a8 // u32 RDTSCs that may do without the host's clock, and 1; 0: the next one may not
export const CPU_GRANTED = 0x5ac // i32 CPU_BUDGET as the run loop set it: CPU_INSNS + CPU_GRANTED - CPU_BUDGET have been retired
export const CPU_EXIT_COUNTS = 0x5b0 // 16 x u32, by EXIT_* kind
export const CPU_SIPI_VECTOR = 0x5f0 // u32
export const CPU_DB_PENDING = 0x5f4 // u32 DR6 bits (B0-B3, BS, BT) of debug traps found during the current instruction
export const CPU_TF_ARMED = 0x5f8 // u32 1: TF was set when the current instruction began
export const CPU_STRAIGHT = 0x5fc // u32 1: a far transfer goes on at CPU_NEXT_RIP without the run loop; taken back at once
export const CPU_BOUNCE = 0x600 // 64 bytes, page-crossing and MMIO read-modify-write
export const CPU_SCRATCH = 0x640 // 0x1c0 bytes, 16-byte slots for helpers
export const CPU_SCRATCH_SLOTS = 28

// --- vector, x87, cpuid ----------------------------------------------------------------------------------------

export const CPU_XMM = 0x800 // 32 x 64 bytes (ZMM layout, XMM in the low 16)
export const CPU_XMM_STRIDE = 64
export const CPU_OPMASK = 0x1000 // k0..k7 u64
export const CPU_MXCSR = 0x1040 // u32
export const CPU_X87 = 0x1050 // 8 x 16 bytes by physical register: u64 significand, u16 sign and exponent; MMX aliases the significand
export const CPU_X87_CW = 0x10d0 // u16
export const CPU_X87_SW = 0x10d2 // u16 without TOP (bits 11-13 zero here)
export const CPU_X87_TOP = 0x10d4 // u32 0..7
export const CPU_X87_TAG = 0x10d8 // u32 abridged: bit i = physical register i not empty
export const CPU_X87_FOP = 0x10dc // u16
export const CPU_X87_FIP = 0x10e0 // u64
export const CPU_X87_FDP = 0x10e8 // u64
export const CPU_X87_FCS = 0x10f0 // u16
export const CPU_X87_FDS = 0x10f2 // u16
export const CPU_X87_STORE = 0x10f4 // u32 of the store in progress: bit 0 the value goes out, 31..16 the upper part of ten bytes

/** CPUID answers, filled by the machine: count u32, then entries {leaf, subleaf, flags (1 = subleaf matters), eax, ebx, ecx, edx, 0} */
export const CPU_CPUID = 0x1100
export const CPU_CPUID_ENTRIES = 0x1110
export const CPU_CPUID_MAX = 96 // entries of 32 bytes: ends at 0x1d10
/** FEATURE_* bits of src/abi/features.ts that the model enables, tested by the decoder: 8 x u32 */
export const CPU_FEATURES = 0x1d20
export const CPU_MSR_MC_BANKS = 0x1d40 // CPU_MC_BANK_COUNT x {ctl, status, addr, misc} u64
export const CPU_MC_BANK_COUNT = 10

// --- local APIC, exit record, posted ring ------------------------------------------------------------------------

export const CPU_LAPIC = 0x2000 // 0x1000 bytes, layout owned by src/kernel/irqchip
export const CPU_EXIT = 0x3000 // exit record, see EXIT_* in exits.ts
export const CPU_EXIT_BUFFER = 0x3100 // data of a REP INS/OUTS exit
export const CPU_EXIT_BUFFER_SIZE = 0xf00
export const CPU_POSTED = 0x4000 // posted-write ring: head u32 (hub), tail u32 (vCPU), entries from +64
export const CPU_POSTED_ENTRIES = 0x4040
export const CPU_POSTED_COUNT = 256 // 32-byte entries, a power of two
export const CPU_TRACE_RING = 0x6100 // ring of the last block heads: u32 next, then 255 x {u64 rip, u64 gpa|mode}
export const CPU_TRACE_RING_COUNT = 255
export const CPU_PV_UNHALTED = 0x7f00 // u32 1: a KVM_HC_KICK_CPU came that no HLT has used up yet
export const CPU_PAUSE_YIELDS = 0x7f04 // u32 times that a PAUSE loop gave its core to the host (statistic)
export const CPU_HALT_POLL_NS = 0x7f08 // f64 ns that HLT looks for work before it sleeps; adapts
export const CPU_HALT_POLLED = 0x7f10 // u32 halts that polling ended without sleeping (statistic)
export const CPU_TLB_SLOT = 0x7100 // u32 address of bank 0 of the slot in force
export const CPU_TLB_META = 0x7104 // u32 address of what is known of it
export const CPU_TLB_GENERATION = 0x7108 // u64 number of the slot's paging-structure cache << 28, part of its keys
export const CPU_TLB_LAST_GENERATION = 0x7110 // u64 last number given to any slot
export const CPU_TLB_STAMP = 0x7118 // u32 grows with every change of slot
export const CPU_TLB_USED = 0x7120 // u32 slots that were ever used
export const CPU_TLB_GLOBALS = 0x711c // u32 global pages were entered: bit 0 in the lower half of the address space, bit 1 in the upper one
export const CPU_SHADOW_RIP = 0x7128 // u64 RIP behind the STI that set CPU_INHIBIT to 1: elsewhere its shadow is over
/**
 * The page that compiled code found the stack in: linear address, writable by the bank in force; all ones = none. What the TLB drops
 * ends it (src/kernel/tlb.ts).
 */
export const CPU_STACK_PAGE = 0x7130 // u64
export const CPU_STACK_HOST = 0x7138 // u32, as TLB_HOST
export const CPU_PROTECT_COUNT = 0x7140 // u32 frames in the list, CPU_PROTECT_MAX + 1 = too many for it; under VM_LOCK_MMU
export const CPU_PROTECT_MAX = 15
export const CPU_PROTECT = 0x7144 // u32 addresses of frames that this vCPU's TLB may no longer map for writing
export const CPU_PROTECT_TAKEN = 0x7184 // those that are being served
export const CPU_RNG = 0x7580 // 0x80 bytes: 32-byte key that the machine fills from the host's random source, then generator state
/**
 * Flags as compiled code leaves them: which operation they come from, and its operands. CC_NONE: they are in CPU_FL_RES
 * and CPU_FL_AUX. Whoever reads those (interpreter, kernel) is only reached after cc_commit() of the interpreter module.
 */
export const CPU_CC_KIND = 0x7620 // u32 CC_* of jit.ts
export const CPU_CC_A = 0x7628 // u64
export const CPU_CC_B = 0x7630 // u64
export const CPU_CC_RES = 0x7638 // u64
export const CPU_JIT_MASK = 0x7610 // u32 a taken branch whose count & mask is 0 asks for compilation; JIT_OFF: never
export const CPU_JIT_QUEUED = 0x7614 // u32 used entries of the queue
export const CPU_JIT_SINCE = 0x7618 // u32 slices since the first entry was queued
export const CPU_JIT_QUEUE = 0x7680 // JIT_QUEUE_MAX x 32 bytes, see jit.ts; up to 0x7e80
export const CPU_HALTED_AT = 0x7600 // f64 guest ns at which the vCPU went to sleep, 0 = awake; CPU_HALT_NS grows when it wakes
export const CPU_EXIT_WAIT_NS = 0x7608 // f64 host ns spent waiting for the hub's answers
/**
 * What the JIT did for this vCPU: f64 words at these offsets, written by one thread, read by statistics. A compiler
 * that serves several vCPUs counts in the first one's.
 */
export const CPU_JIT_STATS = 0x7640
export const JIT_STAT_REGIONS = 0x00 // compiled so far
export const JIT_STAT_MODULES = 0x08 // made so far
export const JIT_STAT_BYTES = 0x10 // of the modules that live
export const JIT_STAT_EVICTED = 0x18 // regions thrown away, with those of fetched modules that were never used
export const JIT_STAT_CODEGEN_NS = 0x20 // forming regions and writing Wasm
export const JIT_STAT_COMPILE_NS = 0x28 // in new WebAssembly.Module and Instance
export const JIT_STAT_SHARED = 0x38 // regions that were compiled for another vCPU, or earlier
export const JIT_STAT_INSTRUCTIONS = 0x30 // guest instructions retired in compiled code; CPU_INSNS counts them, too

// --- mode bits -------------------------------------------------------------------------------------------------

export const MODE_CS_MASK = 3 // 0 = 16-bit, 1 = 32-bit, 2 = 64-bit code
export const MODE_CS16 = 0
export const MODE_CS32 = 1
export const MODE_CS64 = 2
export const MODE_SS32 = 4 // 32-bit stack (ignored in 64-bit code)
export const MODE_PE = 8
export const MODE_VM86 = 16
export const MODE_LMA = 32
/** ES, CS, SS, DS have base 0, limit 4 GiB and allow every access: no segment checks. Always set in 64-bit code. */
export const MODE_FLAT = 64
export const MODE_CPL3 = 128

// --- TLB ---------------------------------------------------------------------------------------------------------

/**
 * Direct mapped by linear page number. Entry: tag for read, write, execute (linear page address, or all ones
 * when that access needs the slow path), then the distance from linear addresses to shared memory and the gpa page.
 * A slot holds the translations of one address space (PCID) in three banks: supervisor; user; supervisor with
 * EFLAGS.AC set (SMAP off). Behind the slots: a bank that never fills (alignment checks, data breakpoints, memory
 * tracing), the paging-structure cache, what src/kernel/tlb.ts knows of each slot, src/kernel/tlb-writers.ts of each frame,
 * and what was replaced last.
 */
export const TLB_ENTRIES = 4096 // at most 4096: a summary word has a bit for each 64
export const TLB_ENTRY_SHIFT = 5
export const TLB_READ = 0
export const TLB_WRITE = 8
export const TLB_EXEC = 16
export const TLB_HOST = 24 // u32 address of the frame minus the linear page, modulo 2^32
export const TLB_GFN = 28 // u32
export const TLB_BANK_SIZE = 0x2_0000
export const TLB_BANK_SUPERVISOR = 0
export const TLB_BANK_USER = 1
export const TLB_BANK_SUPERVISOR_AC = 2
export const TLB_SLOT_BANKS = 3
export const TLB_SLOT_SIZE = 0x6_0000
export const TLB_SLOTS = 8
export const TLB_MISS = 0x30_0000 // offsets from CPU_TLB_BANKS
export const TLB_WALKS = 0x32_0000
export const TLB_WALK_ENTRIES = 1024 // of 16 bytes
export const TLB_META = 0x32_4000
export const TLB_META_SIZE = 0x1a00 // per slot, see src/kernel/tlb.ts
export const TLB_WRITERS = 0x33_1000
export const TLB_WRITERS_BUCKETS = 4096 // of 16 bytes
export const TLB_VICTIMS = 0x34_1000 // see src/kernel/tlb-victims.ts
export const TLB_VICTIMS_MAX = 8
export const TLB_BYTES = 0x34_2000 // of everything, a multiple of 4096

/** Where a CPU struct stands that runs compiled code, its TLB follows, and then what that code knows by its distance from the struct. */
export const CPU_REGIONS = CPU_SIZE + TLB_BYTES // structs of regions and links, see code-cache.ts
export const CPU_REGIONS_BYTES = 0x40_0000

export const FAULT_VALID = 0x8000_0000
export const FAULT_HAS_ERROR = 0x100
export const FAULT_SOFT = 0x200 // INT n, INT3, INTO: RIP pushed is NEXT_RIP, DPL checked
export const FAULT_TRAP = 0x400 // reported after the instruction: RIP pushed is NEXT_RIP

export const REQ_INTERRUPT = 1 // look at the local APIC and PIC
export const REQ_NMI = 2
export const REQ_INIT = 4
export const REQ_SIPI = 8
export const REQ_TLB = 0x10 // flush the whole TLB (another vCPU asked, or the frame map changed)
export const REQ_CODE = 0x20 // a page that holds decoded code was written: drop it before the next instruction
export const REQ_PAUSE = 0x40 // return to the worker loop; stays set until resumed
export const REQ_STOP = 0x80
export const REQ_CLOCK = 0x100 // look at timers
export const REQ_DEBUG = 0x200 // TF or breakpoint pending
export const REQ_SMI = 0x400
export const REQ_JIT = 0x800 // regions wait for compilation
export const REQ_UNHALT = 0x1000 // KVM_HC_KICK_CPU: CPU_PV_UNHALTED is set
export const REQ_PROTECT = 0x2000 // frames are listed that this vCPU may no longer map for writing

export const RUN_RUNNING = 0
export const RUN_HALTED = 1
export const RUN_WAIT_SIPI = 2
export const RUN_SHUTDOWN = 3
export const RUN_OFF = 4

export const EXITREASON_NONE = 0
export const EXITREASON_PAUSE = 1
export const EXITREASON_SHUTDOWN = 2 // triple fault
export const EXITREASON_STOP = 3
export const EXITREASON_YIELD = 4 // come back at once (lets V8 swap in optimised code)
export const EXITREASON_INTERNAL = 5 // our own bug: code in CPU_FAULT_ERROR
export const EXITREASON_OUT_OF_MEMORY = 6 // the frame pool is empty
export const EXITREASON_JIT = 7 // the queue of regions to compile is due

export const TRACE_INSN = 1
export const TRACE_INT = 2
export const TRACE_EXIT = 4
export const TRACE_MSR = 8

// --- VM struct -----------------------------------------------------------------------------------------------

export const VM_SIZE = 0x4_9000
export const VM_FRAME_MAP = 0x000 // u32 address of u32 per gfn
export const VM_GFN_COUNT = 0x004 // u32 gfns that the map covers; gpa beyond is MMIO or nothing
export const VM_VCPU_COUNT = 0x008
export const VM_A20_MASK = 0x00c // u32: 0xffff_ffff or 0xffef_ffff, applied to the low 32 bits of every gpa
export const VM_IRQCHIP_MODE = 0x010 // u32 0 kernel, 1 split, 2 userspace
export const VM_HUB_DOORBELL = 0x014 // u32 bumped and notified when the hub has work
export const VM_HUB_ASLEEP = 0x018 // u32 1 while the hub waits on the doorbell
export const VM_HUB_KICK = 0x01c // u32 1: the hub cannot waitAsync, call host.kick() instead
export const VM_MMIO_SEQ = 0x020 // u32 odd while the hub rewrites the range table: a reader that saw it odd or changed looks again
export const VM_POSTED_SEQ = 0x024 // u32 number of the next posted write of any vCPU
export const VM_MMIO_COUNT = 0x028 // u32 used entries of the range table
export const VM_TSC_KHZ = 0x02c // u32
export const VM_CLOCK_BASE = 0x030 // f64 host monotonic ns at guest time 0 (moves on pause and resume)
export const VM_TSC_BASE = 0x038 // u64 TSC at guest time 0
export const VM_TSC_LAST = 0x040 // u64 greatest TSC handed out
export const VM_WALL_BASE = 0x048 // f64 ns since the Unix epoch at guest time 0
export const VM_LOCK_IRQ = 0x050 // u32 spin lock: irqchip, PIT
export const VM_LOCK_SPLIT = 0x054 // u32 spin lock: split and MMIO LOCK operations
export const VM_LOCK_MMU = 0x058 // u32 spin lock: frame map changes, code flags
export const VM_LOCK_HUB = 0x05c
export const VM_LOG_UNKNOWN = 0x060 // u32 1: log unknown MSRs too
export const VM_PAUSED_AT = 0x068 // f64 host ns, 0 = running
export const VM_MAXPHYADDR = 0x070 // u32 bits
export const VM_HOST_CORES = 0x078 // u32 cores that the host has; 0 = not known, taken as few
export const VM_SHOOTDOWNS = 0x07c // u32 shootdowns under way, under VM_LOCK_MMU
export const VM_IGNORE_MSRS = 0x074 // u32 1: unknown MSRs read 0 instead of #GP
export const VM_DIRTY_LOGS = 0x080 // VM_DIRTY_CONSUMERS x 16 bytes, one per consumer (display, migration, snapshot …)
export const VM_DIRTY_CONSUMERS = 8
export const DIRTY_LOG_STRIDE = 16
export const DIRTY_LOG_BITMAP = 0 // u32 address of one bit per gfn, 0 = this consumer is off
export const DIRTY_LOG_FIRST = 4 // u32 first gfn
export const DIRTY_LOG_COUNT = 8 // u32 gfns
export const VM_CPU_PTRS = 0x100 // 256 x u32 CPU struct addresses
export const VM_MMIO_TABLE = 0x800 // 128 x 32 bytes, see MMIO_*; sorted by start, no overlap
export const VM_MMIO_MAX = 128
export const VM_IRQCHIP = 0x2000 // 0x2000 bytes: I/O APIC, PICs, PIT, routing; layout owned by src/kernel/irqchip
export const VM_LOG = 0x4000 // log ring to the hub: head u32, tail u32, 32-byte entries from +64 (see LOG_* in exits.ts)
export const VM_LOG_COUNT = 256
export const VM_PV = 0x6200 // kvmclock and other paravirtual VM-wide state, 0x200 bytes
export const VM_TESTDEV = 0x6400 // pc-testdev latches, 0x100 bytes
export const VM_PCI_ADDRESS = 0x7800 // u32 configuration address, port 0xcf8: vCPUs write it, the hub reads it
/**
 * 256 x u32, by slot * 8 + function of bus 0, which the hub writes: 0 = nobody there, 1 = ask the hub, else the address
 * of the 256 bytes of configuration space; bits 0-5 are then the one dword of it that only the hub can read, 0 = none.
 */
export const VM_PCI_FUNCTIONS = 0x7840
export const VM_PIO_SHADOW = 0x8000 // 64 KiB: one byte per port, answers `shadow` reads
export const VM_PIO_MAP = 0x1_8000 // 64 KiB: one byte per port, index into VM_PIO_CLASSES
export const VM_SHARED_CODE = 0x2_8000 // what compiled code there is, see SHARED_* in jit.ts
export const VM_CODE_PLACES = 0x4_8000 // u64 where the next batch of compiled code goes (engine/jit/code-places.ts)
export const VM_PIO_CLASSES = 0x6600 // 256 x u16: ACCESS_* and KDEV_* bits, see exits.ts

// --- frame map entry ---------------------------------------------------------------------------------------------

export const FRAME_NUMBER_MASK = 0x000f_ffff // frame number = shared memory address >> 12
export const FRAME_PRESENT = 0x8000_0000
export const FRAME_RAM = 0x4000_0000 // belongs to RAM or ROM; without PRESENT it is allocated at first touch, zeroed
export const FRAME_READONLY = 0x2000_0000 // ROM: writes are dropped, or exit when also FRAME_IO_WRITE
export const FRAME_CODE = 0x1000_0000 // some vCPU holds decoded code of it: never write-mapped in a TLB
export const FRAME_SHARED = 0x0800_0000 // shared by the page deduper: copy on write
export const FRAME_DIRTY_LOG = 0x0400_0000 // the first write after a clear goes the slow way and sets bits in the dirty bitmaps
export const FRAME_ACCESSED = 0x0200_0000
export const FRAME_IO_WRITE = 0x0100_0000
export const FRAME_WRITABLE = 0x0080_0000 // some TLB may map it for writing, see src/kernel/shootdown.ts
