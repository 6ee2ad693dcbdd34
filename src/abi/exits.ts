/**
 * The door between the halves: exit records, posted writes, port and MMIO classes, log entries.
 * Compiled by TypeScript and AssemblyScript. Offsets in bytes.
 *
 * A sync exit: the vCPU fills the record at CPU_EXIT, stores EXIT_STATE = 1, bumps VM_HUB_DOORBELL, notifies it,
 * and waits on EXIT_STATE until the hub stored 2 (answered). The hub first serves
 * the posted writes of all vCPUs in the order of POSTED_SEQ, so a device sees accesses as program order and guest locks
 * put them.
 */

export const EXIT_STATE = 0 // u32 0 idle, 1 asked, 2 answered
export const EXIT_KIND = 4 // u32 EXIT_KIND_*
export const EXIT_SIZE = 8 // u32 access bytes 1, 2, 4 or 8
export const EXIT_COUNT = 12 // u32 elements of a string exit (data in CPU_EXIT_BUFFER), else 1
export const EXIT_ADDRESS = 16 // u64 port or gpa
export const EXIT_DATA = 24 // u64 value written, or the hub's answer
export const EXIT_FLAGS = 32 // u32

export const EXIT_KIND_NONE = 0
export const EXIT_KIND_PIO_READ = 1
export const EXIT_KIND_PIO_WRITE = 2
export const EXIT_KIND_MMIO_READ = 3
export const EXIT_KIND_MMIO_WRITE = 4
export const EXIT_KIND_HYPERCALL = 5
export const EXIT_KIND_SHUTDOWN = 6
export const EXIT_KIND_RESET = 7
export const EXIT_KIND_DEBUG = 8
export const EXIT_KIND_POSTED = 9 // only in CPU_EXIT_COUNTS: posted writes
export const EXIT_KIND_SHADOW = 10 // only in CPU_EXIT_COUNTS: shadowed reads
export const EXIT_KIND_KERNEL = 11 // only in CPU_EXIT_COUNTS: kernel-handled accesses
export const EXIT_KIND_HALT = 12 // only in CPU_EXIT_COUNTS
export const EXIT_KIND_INTERRUPT = 13 // only in CPU_EXIT_COUNTS: interrupts delivered
export const EXIT_KIND_FAULT = 14 // only in CPU_EXIT_COUNTS: exceptions delivered

// Posted ring (per vCPU, single producer, single consumer). head is advanced by the hub, tail by the vCPU; both free-running u32.
export const POSTED_HEAD = 0
export const POSTED_TAIL = 4
export const POSTED_ENTRY_SIZE = 32
export const POSTED_KIND = 0 // u32 EXIT_KIND_PIO_WRITE or EXIT_KIND_MMIO_WRITE
export const POSTED_BYTES = 4 // u32
export const POSTED_ADDRESS = 8 // u64
export const POSTED_DATA = 16 // u64
/** u32 drawn from VM_POSTED_SEQ before the entry is published: the order of writes across vCPUs. */
export const POSTED_SEQ = 24

/**
 * Port classes: VM_PIO_MAP holds one class index per port, VM_PIO_CLASSES a u16 per class:
 * bits 0-3 read class, bits 4-7 write class, bits 8-15 kernel device (KDEV_*).
 * Class 0 is "nobody": reads are all ones, writes are dropped, the first access per port is logged.
 */
export const ACCESS_NONE = 0
export const ACCESS_SYNC = 1
export const ACCESS_POSTED = 2 // writes only
export const ACCESS_SHADOW = 3 // reads only
export const ACCESS_KERNEL = 4
export const ACCESS_IGNORE = 5 // known, without effect, not logged

export const KDEV_NONE = 0
export const KDEV_PIC = 1
export const KDEV_PIT = 2
export const KDEV_LAPIC = 3
export const KDEV_IOAPIC = 4
export const KDEV_PMTIMER = 5
export const KDEV_HPET = 6
export const KDEV_TESTDEV = 7
export const KDEV_PORT61 = 8
export const KDEV_PORT92 = 9
export const KDEV_DELAY = 10 // port 0x80
export const KDEV_VGA = 11
export const KDEV_PCI = 12 // PCI configuration mechanism 1: keeps VM_PCI_ADDRESS, answers reads from VM_PCI_FUNCTIONS

// MMIO range table entry (VM_MMIO_TABLE)
export const MMIO_ENTRY_SIZE = 32
export const MMIO_START = 0 // u64 gpa
export const MMIO_END = 8 // u64 gpa after the last byte
export const MMIO_CLASS = 16 // u32 as for ports: read class | write class << 4 | kernel device << 8
export const MMIO_SHADOW = 20 // u32 address of the shadow image of this range, or 0

// Log ring: kernel -> hub, for things reported once
export const LOG_ENTRY_SIZE = 32
export const LOG_KIND = 0 // u32 LOG_*
export const LOG_CPU = 4 // u32
export const LOG_A = 8 // u64
export const LOG_B = 16 // u64
export const LOG_RIP = 24 // u64
export const LOG_UNKNOWN_PIO = 1 // a = port | size << 16 | write << 24, b = value
export const LOG_UNKNOWN_MMIO = 2 // a = gpa, b = size | write << 8
export const LOG_UNKNOWN_MSR = 3 // a = index | write << 32, b = value
export const LOG_TRIPLE_FAULT = 4 // a = last vector, b = error
export const LOG_INTERRUPT = 5 // trace: a = vector, b = error | kind << 32
export const LOG_EXIT = 6 // trace: a = address, b = data
export const LOG_BUG = 7 // a = code
export const LOG_INSN = 8 // trace: a = gpa << 8 | mode, as in CPU_TRACE_RING
export const LOG_MSR = 9 // trace: a = index | write << 32, b = value
