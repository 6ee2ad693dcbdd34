/**
 * 8254 programmable interval timer: three channels, six modes, latch and read-back, BCD, gates; and port 0x61,
 * whose bits 0, 4 and 5 belong to channel 2 (Intel 8254 data sheet; PIIX3 data sheet, "NMI Status and Control").
 *
 * Nothing counts: counts and outputs are computed from the guest time at which the count was loaded. Channel 0's
 * rising edges are pulses on GSI 0, made by timers_run(). VM_LOCK_IRQ must be held except where a function takes it.
 */
import {
  PIT_ACCESS,
  PIT_ACKED,
  PIT_BACKLOG,
  PIT_BCD,
  PIT_CHANNELS,
  PIT_COUNT,
  PIT_DEADLINE,
  PIT_GATE,
  PIT_HZ,
  PIT_LATCH,
  PIT_LATCHED,
  PIT_MODE,
  PIT_NULL_COUNT,
  PIT_PAUSED,
  PIT_PERIOD,
  PIT_READ_HIGH,
  PIT_RELOAD,
  PIT_RUNNING,
  PIT_START,
  PIT_STATUS,
  PIT_STATUS_LATCHED,
  PIT_STRIDE,
  PIT_WRITE_HIGH,
  PIT_WRITE_LOW,
  PORT61,
} from '../../abi/irqchip.ts'
import { VM_LOCK_IRQ } from '../../abi/layout.ts'
import { clock_ns } from '../clock.ts'
import { lock, unlock, vm } from '../state.ts'
import { ioapic_pin_vector } from './ioapic.ts'
import { gsi_pulse_timer } from './routing.ts'
import { timers_kick } from './timers.ts'

const NS_PER_TICK: f64 = 1e9 / <f64>PIT_HZ
/** A shorter period would leave a guest no time between two interrupts on a slow host. */
const MIN_PERIOD_NS: f64 = 50_000
/** Ticks owed to a guest that could not take them; more than this is a guest that does not count them. */
const MAX_BACKLOG_NS: f64 = 1e9

// @ts-ignore: AssemblyScript decorator
@inline
function channel(i: u32): usize {
  return vm + PIT_CHANNELS + i * PIT_STRIDE
}

export function pit_reset(): void {
  memory.fill(channel(0), 0, 3 * PIT_STRIDE)
  for (let i: u32 = 0; i < 3; i++) {
    const c = channel(i)
    store<u32>(c, 0x10000, PIT_COUNT)
    store<u8>(c, 3, PIT_ACCESS)
    store<u8>(c, i == 2 ? 0 : 1, PIT_GATE) // gates 0 and 1 are tied high
    store<f64>(c, -1, PIT_PAUSED)
    // Firmware leaves channel 0 in mode 3 at 18.2 Hz; started without it, channels wait for a mode and a count.
  }
  store<u32>(vm, 0, PORT61)
  stop_ticks()
}

function stop_ticks(): void {
  store<f64>(vm, Infinity, PIT_DEADLINE)
  store<f64>(vm, 0, PIT_PERIOD)
  store<u32>(vm, 0, PIT_BACKLOG)
  atomic.store<u32>(vm + PIT_ACKED, 1)
}

// --- counting --------------------------------------------------------------------------------------------------------

/** Ticks since the count was loaded or triggered, standing still while a gate holds modes 0 and 4. */
function elapsed(c: usize, now: f64): f64 {
  const paused = load<f64>(c, PIT_PAUSED)
  const ns = paused >= 0 ? paused : now - load<f64>(c, PIT_START)
  return ns <= 0 ? 0 : Math.floor(ns / NS_PER_TICK)
}

/** Modes 2 and 3 take a new count at the end of the period in which it was written. */
function settle(c: usize, now: f64): void {
  if (!load<u8>(c, PIT_NULL_COUNT) || !load<u8>(c, PIT_RUNNING)) return
  const period = <f64>load<u32>(c, PIT_COUNT) * NS_PER_TICK
  const periods = Math.floor((now - load<f64>(c, PIT_START)) / period)
  if (periods < 1) return
  // The boundary after the write was the first one: settle() runs at every write, so later ones are in the new count.
  store<f64>(c, load<f64>(c, PIT_START) + period, PIT_START)
  store<u32>(c, load<u32>(c, PIT_RELOAD), PIT_COUNT)
  store<u8>(c, 0, PIT_NULL_COUNT)
}

/** Current count as software reads it. */
function counter(c: usize, now: f64): u32 {
  const count = load<u32>(c, PIT_COUNT)
  const mode = load<u8>(c, PIT_MODE)
  const wrap: u32 = load<u8>(c, PIT_BCD) ? 10000 : 0x10000
  let value = count % wrap
  if (load<u8>(c, PIT_RUNNING)) {
    const ticks = elapsed(c, now)
    if (mode == 2 || mode == 3) {
      const phase = <u32>(ticks % <f64>count)
      if (mode == 2) value = count - phase
      else value = (count & ~1) - ((phase << 1) % max<u32>(count & ~1, 2)) // counts by two, odd counts lose one
    } else {
      const down = <u32>(ticks % <f64>wrap)
      value = (count + wrap - down) % wrap
    }
    value %= wrap
  }
  return load<u8>(c, PIT_BCD) ? to_bcd(value) : value
}

function output(c: usize, now: f64): bool {
  const mode = load<u8>(c, PIT_MODE)
  if (!load<u8>(c, PIT_RUNNING)) return mode != 0
  const ticks = elapsed(c, now)
  const count = <f64>load<u32>(c, PIT_COUNT)
  if (mode <= 1) return ticks >= count
  if (mode >= 4) return ticks != count
  if (!load<u8>(c, PIT_GATE)) return true
  const phase = ticks % count
  return mode == 2 ? phase != count - 1 : phase < Math.floor((count + 1) / 2)
}

function to_bcd(value: u32): u32 {
  return (value % 10) | (((value / 10) % 10) << 4) | (((value / 100) % 10) << 8) | ((value / 1000) << 12)
}

function from_bcd(value: u32): u32 {
  return (value & 15) + ((value >> 4) & 15) * 10 + ((value >> 8) & 15) * 100 + (value >> 12) * 1000
}

// --- programming -----------------------------------------------------------------------------------------------------

/** Port read, 0x40..0x43. Takes the lock. */
export function pit_read(port: u32): u32 {
  if ((port & 3) == 3) return 0xff // the control word cannot be read
  const guard = vm + VM_LOCK_IRQ
  lock(guard)
  const value = read_channel(channel(port & 3), clock_ns())
  unlock(guard)
  return value
}

function read_channel(c: usize, now: f64): u32 {
  if (load<u8>(c, PIT_STATUS_LATCHED)) {
    store<u8>(c, 0, PIT_STATUS_LATCHED)
    return load<u8>(c, PIT_STATUS)
  }
  const access = load<u8>(c, PIT_ACCESS)
  const latched = load<u8>(c, PIT_LATCHED)
  let value: u32
  if (latched) {
    value = load<u32>(c, PIT_LATCH)
    store<u8>(c, latched - 1, PIT_LATCHED)
    if (access == 3) return latched == 2 ? value & 0xff : (value >> 8) & 0xff
  } else {
    settle(c, now)
    value = counter(c, now)
  }
  if (access == 1) return value & 0xff
  if (access == 2) return (value >> 8) & 0xff
  const high = load<u8>(c, PIT_READ_HIGH)
  store<u8>(c, high ^ 1, PIT_READ_HIGH)
  return high ? (value >> 8) & 0xff : value & 0xff
}

/** Port write, 0x40..0x43. Takes the lock. */
export function pit_write(port: u32, value: u32): void {
  const guard = vm + VM_LOCK_IRQ
  const now = clock_ns()
  lock(guard)
  if ((port & 3) != 3) write_count(port & 3, value, now)
  else if (value >> 6 == 3) read_back(value, now)
  else if ((value >> 4) & 3) write_control(value >> 6, value)
  else latch_count(channel(value >> 6), now)
  unlock(guard)
  timers_kick()
}

function latch_count(c: usize, now: f64): void {
  if (load<u8>(c, PIT_LATCHED)) return // the first latch holds until it is read
  settle(c, now)
  store<u32>(c, counter(c, now), PIT_LATCH)
  store<u8>(c, load<u8>(c, PIT_ACCESS) == 3 ? 2 : 1, PIT_LATCHED)
}

/** Read-back: bit 5 clear latches counts, bit 4 clear latches status, bits 1-3 choose channels. */
function read_back(command: u32, now: f64): void {
  for (let i: u32 = 0; i < 3; i++) {
    if ((command & (2 << i)) == 0) continue
    const c = channel(i)
    if ((command & 0x20) == 0) latch_count(c, now)
    if ((command & 0x10) == 0 && !load<u8>(c, PIT_STATUS_LATCHED)) {
      settle(c, now)
      const status: u32 =
        (output(c, now) ? 0x80 : 0) | (<u32>load<u8>(c, PIT_NULL_COUNT) << 6) |
        (<u32>load<u8>(c, PIT_ACCESS) << 4) | (<u32>load<u8>(c, PIT_MODE) << 1) | load<u8>(c, PIT_BCD)
      store<u8>(c, status, PIT_STATUS)
      store<u8>(c, 1, PIT_STATUS_LATCHED)
    }
  }
}

function write_control(i: u32, value: u32): void {
  const c = channel(i)
  const mode = (value >> 1) & 7
  store<u8>(c, mode > 5 ? mode - 4 : mode, PIT_MODE) // 6 and 7 are 2 and 3
  store<u8>(c, value & 1, PIT_BCD)
  store<u8>(c, (value >> 4) & 3, PIT_ACCESS)
  store<u8>(c, 0, PIT_READ_HIGH)
  store<u8>(c, 0, PIT_WRITE_HIGH)
  store<u8>(c, 0, PIT_LATCHED)
  store<u8>(c, 0, PIT_STATUS_LATCHED)
  store<u8>(c, 1, PIT_NULL_COUNT)
  store<u8>(c, 0, PIT_RUNNING)
  store<f64>(c, -1, PIT_PAUSED)
  if (i == 0) stop_ticks()
}

function write_count(i: u32, value: u32, now: f64): void {
  const c = channel(i)
  const access = load<u8>(c, PIT_ACCESS)
  if (access == 1) {
    load_count(i, value, now)
  } else if (access == 2) {
    load_count(i, value << 8, now)
  } else if (load<u8>(c, PIT_WRITE_HIGH)) {
    store<u8>(c, 0, PIT_WRITE_HIGH)
    load_count(i, load<u8>(c, PIT_WRITE_LOW) | (value << 8), now)
  } else {
    store<u8>(c, value, PIT_WRITE_LOW)
    store<u8>(c, 1, PIT_WRITE_HIGH)
    // In mode 0 the first of two bytes stops the count.
    if (load<u8>(c, PIT_MODE) == 0) {
      store<u8>(c, 0, PIT_RUNNING)
      if (i == 0) stop_ticks()
    }
  }
}

function load_count(i: u32, raw: u32, now: f64): void {
  const c = channel(i)
  const bcd = load<u8>(c, PIT_BCD) != 0
  let count = bcd ? from_bcd(raw) : raw
  if (count == 0) count = bcd ? 10000 : 0x10000
  const mode = load<u8>(c, PIT_MODE)
  if (mode == 2 || mode == 3) {
    if (load<u8>(c, PIT_RUNNING)) {
      settle(c, now)
      store<u32>(c, count, PIT_RELOAD)
      store<u8>(c, 1, PIT_NULL_COUNT)
      if (i == 0) arm_ticks(c, now)
      return
    }
  } else if (mode == 1 || mode == 5) {
    // The count waits for a trigger by the gate.
    store<u32>(c, count, PIT_RELOAD)
    store<u8>(c, 1, PIT_NULL_COUNT)
    return
  }
  store<u32>(c, count, PIT_COUNT)
  start(i, now)
}

function start(i: u32, now: f64): void {
  const c = channel(i)
  store<u8>(c, 0, PIT_NULL_COUNT)
  store<u8>(c, 1, PIT_RUNNING)
  store<f64>(c, now, PIT_START)
  const mode = load<u8>(c, PIT_MODE)
  store<f64>(c, (mode == 0 || mode == 4) && !load<u8>(c, PIT_GATE) ? 0 : -1, PIT_PAUSED)
  if (i == 0) arm_ticks(c, now)
}

function set_gate(i: u32, high: bool, now: f64): void {
  const c = channel(i)
  if (high == (load<u8>(c, PIT_GATE) != 0)) return
  settle(c, now)
  store<u8>(c, high ? 1 : 0, PIT_GATE)
  const mode = load<u8>(c, PIT_MODE)
  if (mode == 0 || mode == 4) {
    if (!load<u8>(c, PIT_RUNNING)) return
    if (high) {
      store<f64>(c, now - load<f64>(c, PIT_PAUSED), PIT_START)
      store<f64>(c, -1, PIT_PAUSED)
    } else {
      store<f64>(c, max(now - load<f64>(c, PIT_START), 0), PIT_PAUSED)
    }
  } else if (high && (load<u8>(c, PIT_RUNNING) || load<u8>(c, PIT_NULL_COUNT))) {
    if (load<u8>(c, PIT_NULL_COUNT) && load<u32>(c, PIT_RELOAD) == 0) return // control word, but no count yet
    if (load<u8>(c, PIT_NULL_COUNT)) store<u32>(c, load<u32>(c, PIT_RELOAD), PIT_COUNT)
    start(i, now)
  }
}

// --- port 0x61 -------------------------------------------------------------------------------------------------------

/** Bits 0-3 as written, bit 4 toggles with refresh, bit 5 is channel 2's output. Takes the lock. */
export function port61_read(): u32 {
  const guard = vm + VM_LOCK_IRQ
  const now = clock_ns()
  lock(guard)
  const c = channel(2)
  settle(c, now)
  const refresh = <u32>(<u64>(now / 15_085) & 1) // a refresh request every 15.085 us
  const value = load<u32>(vm, PORT61) | (refresh << 4) | (output(c, now) ? 0x20 : 0)
  unlock(guard)
  return value
}

export function port61_write(value: u32): void {
  const guard = vm + VM_LOCK_IRQ
  lock(guard)
  store<u32>(vm, value & 15, PORT61)
  set_gate(2, (value & 1) != 0, clock_ns())
  unlock(guard)
}

// --- channel 0's interrupt -------------------------------------------------------------------------------------------

/** Computes the next rising edge of channel 0. */
function arm_ticks(c: usize, now: f64): void {
  const mode = load<u8>(c, PIT_MODE)
  const period = <f64>load<u32>(c, PIT_COUNT) * NS_PER_TICK
  const begin = load<f64>(c, PIT_START)
  if (mode == 2 || mode == 3) {
    store<f64>(vm, begin + period * (Math.floor((now - begin) / period) + 1), PIT_DEADLINE)
    store<f64>(vm, max(period, MIN_PERIOD_NS), PIT_PERIOD)
  } else if (mode == 0 || mode == 4) {
    store<f64>(vm, begin + period + (mode == 4 ? NS_PER_TICK : 0), PIT_DEADLINE)
    store<f64>(vm, 0, PIT_PERIOD)
  }
}

/** Makes channel 0's due ticks. Any vCPU may come by; the lock picks one. */
export function pit_run(now: f64): void {
  if (now < load<f64>(vm, PIT_DEADLINE)) return
  const guard = vm + VM_LOCK_IRQ
  lock(guard)
  const due = load<f64>(vm, PIT_DEADLINE)
  if (now >= due) tick(due, now)
  unlock(guard)
}

function tick(due: f64, now: f64): void {
  const period = load<f64>(vm, PIT_PERIOD)
  let ticks: f64 = 1
  if (period > 0) {
    const c = channel(0)
    if (load<u8>(c, PIT_NULL_COUNT)) {
      settle(c, now)
      arm_ticks(c, now)
    } else {
      ticks = Math.floor((now - due) / period) + 1
      store<f64>(vm, due + ticks * period, PIT_DEADLINE)
    }
  } else {
    store<f64>(vm, Infinity, PIT_DEADLINE)
  }
  // Ticks that the guest could not take yet are owed: a guest that counts them keeps its time.
  let owed = <f64>load<u32>(vm, PIT_BACKLOG) + ticks - 1
  const waiting = load<u32>(vm, PIT_ACKED) == 0
  if (waiting) owed += 1
  atomic.store<u32>(vm + PIT_ACKED, 0)
  const heard = gsi_pulse_timer()
  if (!heard) {
    owed = 0
    atomic.store<u32>(vm + PIT_ACKED, 1)
  }
  store<u32>(vm, period > 0 ? <u32>min(owed, MAX_BACKLOG_NS / period) : 0, PIT_BACKLOG)
}

/** The guest took a tick: deliver the next one it is owed. */
export function pit_tick_taken(): void {
  atomic.store<u32>(vm + PIT_ACKED, 1)
  const owed = load<u32>(vm, PIT_BACKLOG)
  if (owed == 0) return
  store<u32>(vm, owed - 1, PIT_BACKLOG)
  atomic.store<u32>(vm + PIT_ACKED, 0)
  gsi_pulse_timer()
}

/** A local APIC took this vector: was it a tick that came through the I/O APIC? Takes the lock only if so. */
export function pit_vector_taken(vector: u32): void {
  if (atomic.load<u32>(vm + PIT_ACKED) != 0 || ioapic_pin_vector(2) != <i32>vector) return
  const guard = vm + VM_LOCK_IRQ
  lock(guard)
  pit_tick_taken()
  unlock(guard)
}
