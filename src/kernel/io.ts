/**
 * IN, OUT, INS, OUTS: permission (SDM Vol. 1, "Protected-Mode I/O"), then dispatch by port class (abi/exits.ts).
 * A device that is narrower than the access is asked byte by byte, as the ISA bridge would. Nobody's ports read all
 * ones and are logged once each.
 */
import {
  ACCESS_IGNORE,
  ACCESS_KERNEL,
  ACCESS_NONE,
  ACCESS_POSTED,
  ACCESS_SHADOW,
  ACCESS_SYNC,
  EXIT_KIND_KERNEL,
  EXIT_KIND_PIO_READ,
  EXIT_KIND_PIO_WRITE,
  EXIT_KIND_RESET,
  EXIT_KIND_SHADOW,
  KDEV_DELAY,
  KDEV_PCI,
  KDEV_PIC,
  KDEV_PIT,
  KDEV_PMTIMER,
  KDEV_PORT61,
  KDEV_PORT92,
  KDEV_TESTDEV,
  LOG_UNKNOWN_PIO,
} from '../abi/exits.ts'
import { PORT92 } from '../abi/irqchip.ts'
import {
  CPU_CPL,
  CPU_EFLAGS,
  CPU_EXIT_BUFFER,
  CPU_EXIT_BUFFER_SIZE,
  CPU_MODE,
  MODE_PE,
  MODE_VM86,
  SEG_ATTR,
  SEG_ATTR_UNUSABLE,
  SEG_BASE,
  SEG_LIMIT,
  SEG_TR,
  VM_A20_MASK,
  VM_LOCK_IRQ,
  VM_PCI_ADDRESS,
  VM_PCI_FUNCTIONS,
  VM_PIO_CLASSES,
  VM_PIO_MAP,
  VM_PIO_SHADOW,
} from '../abi/layout.ts'
import { ACC_IMPLICIT, EFLAGS_IOPL, EFLAGS_IOPL_SHIFT, TYPE_TSS, TYPE_TSS_BUSY } from './arch.ts'
import { io_watch } from './debug.ts'
import { count_exit, exit_posted, exit_sync, log_once } from './exit.ts'
import { flush_everywhere } from './frames.ts'
import { pic_read, pic_write } from './irqchip/pic.ts'
import { pit_read, pit_write, port61_read, port61_write } from './irqchip/pit.ts'
import { pm_timer_read } from './irqchip/pm-timer.ts'
import { lin_load } from './mmu.ts'
import { cpu, fault_pending, lock, raise_error, seg, unlock, VECTOR_GP, vm } from './state.ts'
import { testdev_port_read, testdev_port_write } from './testdev.ts'

// Without .ts: asc takes the extension off in `import` only and would compile a second copy.
export { mmio_read, mmio_write } from './mmio'

// @ts-ignore: AssemblyScript decorator
@inline
function ones(bytes: u32): u32 {
  return bytes >= 4 ? 0xffff_ffff : (1 << (bytes << 3)) - 1
}

// --- permission ------------------------------------------------------------------------------------------------------

/** Whether the program may touch these ports; raises #GP(0), or the fault of reading the TSS, if not. */
export function io_allowed(port: u32, bytes: u32): bool {
  const mode = load<u32>(cpu, CPU_MODE)
  if ((mode & MODE_PE) == 0) return true
  const iopl = (load<u32>(cpu, CPU_EFLAGS) & EFLAGS_IOPL) >> EFLAGS_IOPL_SHIFT
  if ((mode & MODE_VM86) == 0 && load<u32>(cpu, CPU_CPL) <= iopl) return true
  if (bitmap_allows(port, bytes)) return true
  if (!fault_pending()) raise_error(VECTOR_GP, 0)
  return false
}

/** Looks up the ports in the TSS's I/O permission bitmap; two bytes are read, as a port range may straddle. */
function bitmap_allows(port: u32, bytes: u32): bool {
  const tr = seg(SEG_TR)
  const attr = load<u32>(tr, SEG_ATTR)
  if (attr & SEG_ATTR_UNUSABLE) return false
  const type = attr & 0x1f
  if (type != TYPE_TSS && type != TYPE_TSS_BUSY) return false // a 16-bit TSS has no bitmap
  const base = load<u64>(tr, SEG_BASE)
  const limit = load<u32>(tr, SEG_LIMIT)
  if (limit < 103) return false
  const offset = <u32>lin_load<u16>(base + 0x66, ACC_IMPLICIT)
  if (fault_pending()) return false
  const at = offset + (port >> 3)
  if (at + 1 > limit) return false
  const bits = <u32>lin_load<u16>(base + at, ACC_IMPLICIT)
  if (fault_pending()) return false
  return ((bits >> (port & 7)) & ((1 << bytes) - 1)) == 0
}

// --- instructions ------------------------------------------------------------------------------------------------------

export function sys_in(port: u32, bytes: u32): u32 {
  port &= 0xffff
  if (!io_allowed(port, bytes)) return 0
  io_watch(port, bytes)
  return port_read(port, bytes)
}

export function sys_out(port: u32, value: u32, bytes: u32): void {
  port &= 0xffff
  if (!io_allowed(port, bytes)) return
  io_watch(port, bytes)
  port_write(port, bytes, value & ones(bytes))
}

/**
 * INS of a run: count elements of bytes each into shared memory at buffer. The caller has asked io_allowed() and keeps
 * count * bytes within a page. A sync port makes one exit for the run (per CPU_EXIT_BUFFER_SIZE bytes).
 */
export function io_ins_block(port: u32, bytes: u32, count: u32, buffer: usize): void {
  port &= 0xffff
  if (count > 1 && read_class(class_word(port)) == ACCESS_SYNC) {
    const most = <u32>CPU_EXIT_BUFFER_SIZE / bytes
    while (count > 0) {
      const run = min(count, most)
      if (run == 1) break
      exit_sync(EXIT_KIND_PIO_READ, port, bytes, 0, run)
      memory.copy(buffer, cpu + CPU_EXIT_BUFFER, run * bytes)
      buffer += run * bytes
      count -= run
    }
  }
  for (; count > 0; count--) {
    const value = port_read(port, bytes)
    if (bytes == 1) store<u8>(buffer, value)
    else if (bytes == 2) store<u16>(buffer, value)
    else store<u32>(buffer, value)
    buffer += bytes
  }
}

/** OUTS of a run: count elements from shared memory at buffer; see io_ins_block(). */
export function io_outs_block(port: u32, bytes: u32, count: u32, buffer: usize): void {
  port &= 0xffff
  if (count > 1 && write_class(class_word(port)) == ACCESS_SYNC) {
    const most = <u32>CPU_EXIT_BUFFER_SIZE / bytes
    while (count > 0) {
      const run = min(count, most)
      if (run == 1) break
      memory.copy(cpu + CPU_EXIT_BUFFER, buffer, run * bytes)
      exit_sync(EXIT_KIND_PIO_WRITE, port, bytes, 0, run)
      buffer += run * bytes
      count -= run
    }
  }
  for (; count > 0; count--) {
    const value: u32 = bytes == 1 ? load<u8>(buffer) : bytes == 2 ? load<u16>(buffer) : load<u32>(buffer)
    port_write(port, bytes, value)
    buffer += bytes
  }
}

/** Configuration mechanism 1 (PCI Local Bus 3.0, section 3.2.2.3.2). */
const PCI_ADDRESS_PORT: u32 = 0xcf8
const PCI_DATA_PORT: u32 = 0xcfc
const PCI_ENABLE: u32 = 0x8000_0000
const PCI_ADDRESS_BITS: u32 = 0x80ff_fffc

// --- dispatch --------------------------------------------------------------------------------------------------------

// @ts-ignore: AssemblyScript decorator
@inline
function class_word(port: u32): u32 {
  return load<u16>(vm + VM_PIO_CLASSES + (<u32>load<u8>(vm + VM_PIO_MAP + port) << 1))
}

// @ts-ignore: AssemblyScript decorator
@inline
function read_class(word: u32): u32 {
  return word & 15
}

// @ts-ignore: AssemblyScript decorator
@inline
function write_class(word: u32): u32 {
  return (word >> 4) & 15
}

/** Whether all ports of the access have the class of the first. */
function uniform(port: u32, bytes: u32): bool {
  if (port + bytes > 0x10000) return false
  const first = load<u8>(vm + VM_PIO_MAP + port)
  for (let i: u32 = 1; i < bytes; i++) if (load<u8>(vm + VM_PIO_MAP + port + i) != first) return false
  return true
}

/** Kernel devices that have 8-bit registers only. */
function byte_wide(device: u32): bool {
  return device == KDEV_PIC || device == KDEV_PIT || device == KDEV_PORT61 || device == KDEV_PORT92 || device == KDEV_DELAY
}

export function port_read(port: u32, bytes: u32): u32 {
  const word = class_word(port)
  const kind = read_class(word)
  if (kind == ACCESS_SYNC) return <u32>exit_sync(EXIT_KIND_PIO_READ, port, bytes, 0, 1) & ones(bytes)
  if (bytes > 1 && (kind != ACCESS_KERNEL || byte_wide(word >> 8)) && (kind == ACCESS_KERNEL || !uniform(port, bytes))) {
    return split_read(port, bytes)
  }
  if (kind == ACCESS_SHADOW) {
    count_exit(EXIT_KIND_SHADOW)
    return load<u32>(vm + VM_PIO_SHADOW + port) & ones(bytes)
  }
  if (kind == ACCESS_KERNEL) {
    count_exit(EXIT_KIND_KERNEL)
    return device_read(word >> 8, port, bytes) & ones(bytes)
  }
  if (kind != ACCESS_IGNORE) log_once(LOG_UNKNOWN_PIO, port | (bytes << 16), 0)
  return ones(bytes)
}

function split_read(port: u32, bytes: u32): u32 {
  let value: u32 = 0
  for (let i: u32 = 0; i < bytes; i++) value |= port_read((port + i) & 0xffff, 1) << (i << 3)
  return value
}

export function port_write(port: u32, bytes: u32, value: u32): void {
  const word = class_word(port)
  const kind = write_class(word)
  if (kind == ACCESS_SYNC) {
    exit_sync(EXIT_KIND_PIO_WRITE, port, bytes, value, 1)
  } else if (kind == ACCESS_POSTED) {
    exit_posted(EXIT_KIND_PIO_WRITE, port, bytes, value)
  } else if (kind == ACCESS_KERNEL) {
    if (bytes > 1 && byte_wide(word >> 8)) {
      split_write(port, bytes, value)
    } else {
      count_exit(EXIT_KIND_KERNEL)
      device_write(word >> 8, port, bytes, value)
    }
  } else if (bytes > 1 && !uniform(port, bytes)) {
    split_write(port, bytes, value)
  } else if (kind == ACCESS_NONE) {
    log_once(LOG_UNKNOWN_PIO, port | (bytes << 16) | (1 << 24), value)
  }
}

function split_write(port: u32, bytes: u32, value: u32): void {
  for (let i: u32 = 0; i < bytes; i++) port_write((port + i) & 0xffff, 1, (value >> (i << 3)) & 0xff)
}

function device_read(device: u32, port: u32, bytes: u32): u32 {
  if (device == KDEV_PMTIMER) return pm_timer_read() >> ((port & 3) << 3)
  if (device == KDEV_PIC) return locked_pic_read(port)
  if (device == KDEV_PIT) return pit_read(port)
  if (device == KDEV_PORT61) return port61_read()
  if (device == KDEV_PORT92) return load<u32>(vm, PORT92)
  if (device == KDEV_TESTDEV) return testdev_port_read(port, bytes)
  if (device == KDEV_PCI) return pci_read(port, bytes)
  return 0xffff_ffff
}

function device_write(device: u32, port: u32, bytes: u32, value: u32): void {
  if (device == KDEV_PIC) locked_pic_write(port, value)
  else if (device == KDEV_PIT) pit_write(port, value)
  else if (device == KDEV_PORT61) port61_write(value)
  else if (device == KDEV_PORT92) port92_write(value)
  else if (device == KDEV_TESTDEV) testdev_port_write(port, bytes, value)
  else if (device == KDEV_PCI) pci_select(port, bytes, value)
}

function locked_pic_read(port: u32): u32 {
  const guard = vm + VM_LOCK_IRQ
  lock(guard)
  const value = pic_read(port)
  unlock(guard)
  return value
}

function locked_pic_write(port: u32, value: u32): void {
  const guard = vm + VM_LOCK_IRQ
  lock(guard)
  pic_write(port, value)
  unlock(guard)
}

/** Port 0xcf8 takes 32-bit accesses; others are not the bridge's. */
function pci_select(port: u32, bytes: u32, value: u32): void {
  if (bytes == 4) atomic.store<u32>(vm + VM_PCI_ADDRESS, value & PCI_ADDRESS_BITS)
  else exit_sync(EXIT_KIND_PIO_WRITE, port, bytes, value, 1)
}

/** Configuration data: nobody answers for another bus or an empty place (PCI Local Bus 3.0, "Master-Abort"). */
function pci_read(port: u32, bytes: u32): u32 {
  const address = atomic.load<u32>(vm + VM_PCI_ADDRESS)
  if (port == PCI_ADDRESS_PORT && bytes == 4) return address
  if (port >= PCI_DATA_PORT && (port & 3) + bytes <= 4) {
    if ((address & PCI_ENABLE) == 0 || (address >> 16) & 0xff) return 0xffff_ffff
    const entry = atomic.load<u32>(vm + VM_PCI_FUNCTIONS + ((address >> 6) & 0x3fc))
    if (entry == 0) return 0xffff_ffff
    const dword = (address >> 2) & 63
    if (entry >= 64 && dword != (entry & 63)) return load<u32>((entry & ~63) + (dword << 2)) >> ((port & 3) << 3)
  }
  return <u32>exit_sync(EXIT_KIND_PIO_READ, port, bytes, 0, 1)
}

/** System control port A: bit 1 is the A20 gate, a rising bit 0 resets (PIIX3 data sheet, "Port 92"). */
function port92_write(value: u32): void {
  const before = load<u32>(vm, PORT92)
  store<u32>(vm, value & 3, PORT92)
  if ((before ^ value) & 2) a20_gate((value & 2) != 0)
  if (value & ~before & 1) exit_sync(EXIT_KIND_RESET, 0x92, 1, value, 1)
}

/** Opens or closes the A20 gate for all vCPUs. Any thread. */
export function a20_gate(open: bool): void {
  atomic.store<u32>(vm + VM_A20_MASK, open ? 0xffff_ffff : 0xffef_ffff)
  flush_everywhere()
}
