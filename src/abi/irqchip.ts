/**
 * Layouts inside CPU_LAPIC, VM_IRQCHIP and VM_PV, and the constants of the interrupt controllers and clocks that
 * the hub and the machine need too. Compiled by TypeScript and AssemblyScript; see layout.ts for the rules.
 *
 * LAPIC_* are offsets from the CPU struct, IRQCHIP_*, PIC_*, PIT_*, HPET_*, PV_* from the VM struct.
 */

// --- local APIC: the register page as software sees it (SDM Vol. 3, "Local APIC Register Address Map") ---------

export const LAPIC_REGS = 0x2000 // = CPU_LAPIC; a register at MMIO offset o lives at LAPIC_REGS + o
export const LAPIC_ID = 0x2020 // u32, xAPIC form: id << 24
export const LAPIC_VERSION = 0x2030
export const LAPIC_TPR = 0x2080
export const LAPIC_PPR = 0x20a0
export const LAPIC_LDR = 0x20d0
export const LAPIC_DFR = 0x20e0
export const LAPIC_SVR = 0x20f0
export const LAPIC_ISR = 0x2100 // 8 x u32, 16 bytes apart; only the owner writes
export const LAPIC_TMR = 0x2180 // 8 x u32: 1 = level triggered, EOI is passed on to the I/O APIC
export const LAPIC_IRR = 0x2200 // 8 x u32, set atomically by any thread
export const LAPIC_ESR = 0x2280
export const LAPIC_LVT_CMCI = 0x22f0
export const LAPIC_ICR_LOW = 0x2300
export const LAPIC_ICR_HIGH = 0x2310
export const LAPIC_LVT_TIMER = 0x2320
export const LAPIC_LVT_THERMAL = 0x2330
export const LAPIC_LVT_PERF = 0x2340
export const LAPIC_LVT_LINT0 = 0x2350
export const LAPIC_LVT_LINT1 = 0x2360
export const LAPIC_LVT_ERROR = 0x2370
export const LAPIC_TIMER_INITIAL = 0x2380
export const LAPIC_TIMER_CURRENT = 0x2390
export const LAPIC_TIMER_DIVIDE = 0x23e0
// ours
export const LAPIC_IRR_WORDS = 0x2400 // u32 bit w: IRR word w may be nonzero (set after the word, cleared before a recheck)
export const LAPIC_ISR_WORDS = 0x2404 // u32 bit w: ISR word w is nonzero
export const LAPIC_ESR_PENDING = 0x2408 // u32 errors since the last write of ESR
export const LAPIC_PV_EOI = 0x240c // u32 1: the guest may finish the interrupt in service by clearing its PV EOI bit
export const LAPIC_TIMER_EXPIRES = 0x2410 // f64 guest ns, Infinity = not running
export const LAPIC_TIMER_PERIOD = 0x2418 // f64 ns, 0 = one-shot
export const LAPIC_EXTINT = 0x2424 // u32 1: an ExtINT message came, the next INTA cycle is this processor's
export const LAPIC_STATE_END = 0x2428

export const LAPIC_GPA = 0xfee0_0000
export const LAPIC_LVT_MASKED = 0x1_0000
export const LAPIC_SVR_ENABLE = 0x100
export const LAPIC_SVR_NO_EOI_BROADCAST = 0x1000

export const APIC_BASE_BSP = 0x100
export const APIC_BASE_X2APIC = 0x400
export const APIC_BASE_ENABLE = 0x800

// Delivery modes, as in ICR, LVT, I/O APIC entries and MSI data bits 8-10
export const DELIVERY_FIXED = 0
export const DELIVERY_LOWEST = 1
export const DELIVERY_SMI = 2
export const DELIVERY_NMI = 4
export const DELIVERY_INIT = 5
export const DELIVERY_SIPI = 6
export const DELIVERY_EXTINT = 7

// --- VM_IRQCHIP: 0x2000 bytes at VM + 0x2000, all guarded by VM_LOCK_IRQ unless said otherwise -------------------

export const IOAPIC_ID = 0x2000 // u32, id << 24
export const IOAPIC_SELECT = 0x2004 // u32
export const IOAPIC_LINES = 0x2008 // u32 level of each pin
export const IOAPIC_PINS = 24
export const IOAPIC_ENTRIES = 0x2010 // 24 x u64 redirection table
export const IOAPIC_GPA = 0xfec0_0000

/** Two 8259s, 0x20 bytes each: master, slave. Fields are u8. */
export const PIC_MASTER = 0x2100
export const PIC_SLAVE = 0x2120
export const PIC_STRIDE = 0x20
export const PIC_LINES = 0 // line levels
export const PIC_IRR = 1
export const PIC_IMR = 2
export const PIC_ISR = 3
export const PIC_PRIORITY = 4 // IR number of highest priority
export const PIC_VECTOR = 5 // ICW2, low 3 bits zero
export const PIC_INIT_STATE = 6 // 0 ready, 1..3 ICW2..4 expected
export const PIC_READ_ISR = 7
export const PIC_POLL = 8
export const PIC_SPECIAL_MASK = 9
export const PIC_AUTO_EOI = 10
export const PIC_ROTATE_AEOI = 11
export const PIC_NESTED = 12 // special fully nested mode
export const PIC_ICW4_NEEDED = 13
export const PIC_SINGLE = 14
export const PIC_LEVEL = 15 // ICW1.LTIM: all lines level triggered
export const PIC_ELCR = 16
export const PIC_OUTPUT = 0x2140 // u32 INTR of the master; read without the lock

/** 8254: three channels of 0x40 bytes. Times are guest ns (f64). */
export const PIT_CHANNELS = 0x2180
export const PIT_STRIDE = 0x40
export const PIT_START = 0 // f64 guest ns when the count was loaded or the gate restarted it
export const PIT_COUNT = 8 // u32 1..0x10000 in force
export const PIT_LATCH = 12 // u32 latched count
export const PIT_MODE = 16 // u8 0..5
export const PIT_BCD = 17
export const PIT_ACCESS = 18 // u8 1 low byte, 2 high byte, 3 both
export const PIT_READ_HIGH = 19 // next read gives the high byte
export const PIT_WRITE_HIGH = 20 // next write is the high byte
export const PIT_WRITE_LOW = 21 // low byte held until the high one comes
export const PIT_LATCHED = 22 // bytes of PIT_LATCH still to be read
export const PIT_STATUS_LATCHED = 23
export const PIT_STATUS = 24
export const PIT_GATE = 25
export const PIT_NULL_COUNT = 26 // control written, count not yet
export const PIT_RUNNING = 27 // a count is loaded (modes 1, 5: and the gate triggered it)
export const PIT_PAUSED = 32 // f64 ns elapsed when the gate went low (modes 0, 4), -1 = running
export const PIT_RELOAD = 40 // u32 count for the next trigger or period
export const PIT_DEADLINE = 0x2240 // f64 guest ns of channel 0's next rising edge, Infinity = none; read without the lock
export const PIT_PERIOD = 0x2248 // f64 ns, 0 = one-shot
export const PIT_BACKLOG = 0x2250 // u32 ticks due but not yet acknowledged: delivered one by one
export const PIT_ACKED = 0x2254 // u32 1: the guest took the last tick
export const PORT61 = 0x2258 // u32 bits 0-3 as written
export const PM_TIMER_MASK = 0x225c // u32 0xff_ffff or 0xffff_ffff
export const PORT92 = 0x2260 // u32
export const IRQ_ARBITER = 0x2264 // u32 rotates lowest-priority delivery; atomic

/** HPET: general registers, then timers of 0x20 bytes. */
export const HPET_CONFIG = 0x2300 // u64
export const HPET_STATUS = 0x2308 // u64
export const HPET_COUNTER = 0x2310 // u64 value while stopped; added to the clock while it runs
export const HPET_START = 0x2318 // f64 guest ns at which it was enabled
export const HPET_DEADLINE = 0x2320 // f64 guest ns of the next comparator match, Infinity = none; read without the lock
export const HPET_TIMERS = 0x2340
export const HPET_TIMER_STRIDE = 0x30
export const HPET_TIMER_COUNT = 3
export const HPET_TIMER_CONFIG = 0 // u64
export const HPET_TIMER_COMPARE = 8 // u64
export const HPET_TIMER_PERIOD = 16 // u64
export const HPET_TIMER_ROUTE = 24 // u64 FSB
export const HPET_TIMER_DEADLINE = 32 // f64 guest ns
export const HPET_GPA = 0xfed0_0000

/** GSI routing beyond the pins: GSI 24 and up are message-signalled (irqfd style). u32 address low, u32 data. */
export const GSI_ROUTES = 0x2400
export const GSI_ROUTE_FIRST = 24
export const GSI_ROUTE_COUNT = 232
export const GSI_COUNT = 256
/** Assertions per GSI since reset, for the monitor: 256 x u32. */
export const GSI_STATS = 0x2c00

export const IRQCHIP_MODE_KERNEL = 0
export const IRQCHIP_MODE_SPLIT = 1
export const IRQCHIP_MODE_USERSPACE = 2

// --- VM_PV: paravirtual clock --------------------------------------------------------------------------------------

export const PV_GUEST_STOPPED = 0x6208 // u32 generation: bumped at each resume, vCPUs then set PVCLOCK_GUEST_STOPPED
/** u32 1: guest time stands still while paused. 0: it goes on, as wall time does. */
export const PV_STOP_ON_PAUSE = 0x620c
export const PV_STOLEN_NS = 0x6210 // f64 ns that the vCPUs were kept from running by pauses while guest time went on

/** Things said once: a hash bitmap of unknown ports and addresses already logged. 4 KiB at VM + 0x6800. */
export const VM_LOG_SEEN = 0x6800
export const VM_LOG_SEEN_BITS = 0x8000
// VM_LOG: head and tail as in layout.ts, then
export const VM_LOG_HEAD = 0x4000 // u32 advanced by the hub
export const VM_LOG_TAIL = 0x4004 // u32 advanced by the producers
export const VM_LOG_PRODUCER = 0x4008 // u32 spin lock of the producers
export const VM_LOG_DROPPED = 0x400c // u32 entries lost because the ring was full
export const VM_LOG_ENTRIES = 0x4040

// --- KVM's paravirtual interface (Linux Documentation/virt/kvm/x86/cpuid.rst and msr.rst) --------------------------

export const MSR_KVM_WALL_CLOCK = 0x11
export const MSR_KVM_SYSTEM_TIME = 0x12
export const MSR_KVM_WALL_CLOCK_NEW = 0x4b56_4d00
export const MSR_KVM_SYSTEM_TIME_NEW = 0x4b56_4d01
export const MSR_KVM_ASYNC_PF_EN = 0x4b56_4d02
export const MSR_KVM_STEAL_TIME = 0x4b56_4d03
export const MSR_KVM_PV_EOI_EN = 0x4b56_4d04
export const MSR_KVM_POLL_CONTROL = 0x4b56_4d05

export const KVM_FEATURE_CLOCKSOURCE = 0x1
export const KVM_FEATURE_NOP_IO_DELAY = 0x2
export const KVM_FEATURE_CLOCKSOURCE2 = 0x8
export const KVM_FEATURE_STEAL_TIME = 0x20
export const KVM_FEATURE_PV_EOI = 0x40
export const KVM_FEATURE_PV_UNHALT = 0x80
export const KVM_FEATURE_PV_TLB_FLUSH = 0x200
export const KVM_FEATURE_PV_SEND_IPI = 0x800
export const KVM_FEATURE_POLL_CONTROL = 0x1000
export const KVM_FEATURE_PV_SCHED_YIELD = 0x2000
export const KVM_FEATURE_CLOCKSOURCE_STABLE = 0x100_0000
/** EAX of CPUID leaf 0x4000_0001: what the kernel implements. */
export const KVM_FEATURES_IMPLEMENTED = 0x100_3aeb

/** The local APIC timer and the bus clock that CPUID leaf 0x4000_0010 reports: one tick per ns. */
export const APIC_TIMER_HZ = 1_000_000_000
export const PM_TIMER_HZ = 3_579_545
export const PIT_HZ = 1_193_182
