/**
 * High precision event timer: one block of three timers, 64-bit counter at 100 MHz (IA-PC HPET specification 1.0a).
 * Timer 0 is periodic-capable, all can be 32 or 64 bits wide and deliver by FSB message; legacy replacement routes
 * timer 0 to IRQ 0 and timer 1 to IRQ 8. Nothing counts: the counter is computed from guest time. Takes VM_LOCK_IRQ.
 */
import {
  GSI_STATS,
  HPET_CONFIG,
  HPET_COUNTER,
  HPET_DEADLINE,
  HPET_START,
  HPET_STATUS,
  HPET_TIMERS,
  HPET_TIMER_COMPARE,
  HPET_TIMER_CONFIG,
  HPET_TIMER_COUNT,
  HPET_TIMER_DEADLINE,
  HPET_TIMER_PERIOD,
  HPET_TIMER_ROUTE,
  HPET_TIMER_STRIDE,
  IOAPIC_PINS,
} from '../../abi/irqchip.ts'
import { VM_LOCK_IRQ } from '../../abi/layout.ts'
import { clock_ns } from '../clock.ts'
import { lock, unlock, vm } from '../state.ts'
import { ioapic_set_pin } from './ioapic.ts'
import { msi_send } from './ipi.ts'
import { gsi_set_locked } from './routing.ts'
import { timers_kick } from './timers.ts'

const NS_PER_TICK: f64 = 10
/** Period 10 ns in fs; vendor 8086h, legacy capable, 64-bit counter, three timers, revision 1. */
const CAPABILITIES: u64 = (10_000_000 << 32) | 0x8086_a201

const CONFIG_ENABLE: u64 = 1
const CONFIG_LEGACY: u64 = 2

const TIMER_LEVEL: u64 = 0x2
const TIMER_ENABLE: u64 = 0x4
const TIMER_PERIODIC: u64 = 0x8
const TIMER_CAN_PERIODIC: u64 = 0x10
const TIMER_64BIT: u64 = 0x20
const TIMER_SET_VALUE: u64 = 0x40
const TIMER_32MODE: u64 = 0x100
const TIMER_FSB: u64 = 0x4000
const TIMER_CAN_FSB: u64 = 0x8000
const TIMER_WRITABLE: u64 = 0x7f4e
/** Any I/O APIC pin. */
const TIMER_ROUTES: u64 = 0x00ff_ffff << 32

/** A shorter period would leave a guest no time between two interrupts on a slow host. */
const MIN_PERIOD_TICKS: f64 = 5_000

// @ts-ignore: AssemblyScript decorator
@inline
function timer(i: u32): usize {
  return vm + HPET_TIMERS + i * HPET_TIMER_STRIDE
}

export function hpet_reset(): void {
  store<f64>(vm, Infinity, HPET_DEADLINE)
  for (let i: u32 = 0; i < <u32>HPET_TIMER_COUNT; i++) {
    const t = timer(i)
    const periodic: u64 = i == 0 ? TIMER_CAN_PERIODIC : 0
    store<u64>(t, TIMER_ROUTES | TIMER_CAN_FSB | TIMER_64BIT | periodic, HPET_TIMER_CONFIG)
    store<u64>(t, ~(<u64>0), HPET_TIMER_COMPARE)
    store<f64>(t, Infinity, HPET_TIMER_DEADLINE)
  }
}

// @ts-ignore: AssemblyScript decorator
@inline
function enabled(): bool {
  return (load<u64>(vm, HPET_CONFIG) & CONFIG_ENABLE) != 0
}

function counter(now: f64): u64 {
  const held = load<u64>(vm, HPET_COUNTER)
  return enabled() ? held + <u64>((now - load<f64>(vm, HPET_START)) / NS_PER_TICK) : held
}

/** Reads the 8 bytes at an aligned offset. */
export function hpet_read(offset: u32): u64 {
  if (offset == 0) return CAPABILITIES
  if (offset == 0xf0 && enabled()) return counter(clock_ns()) // the hot one: no lock
  const guard = vm + VM_LOCK_IRQ
  lock(guard)
  const value = register_read(offset)
  unlock(guard)
  return value
}

function register_read(offset: u32): u64 {
  if (offset == 0x10) return load<u64>(vm, HPET_CONFIG)
  if (offset == 0x20) return load<u64>(vm, HPET_STATUS)
  if (offset == 0xf0) return counter(clock_ns())
  const i = (offset - 0x100) >> 5
  if (offset < 0x100 || i >= <u32>HPET_TIMER_COUNT) return 0
  const register = offset & 0x1f
  if (register == 0) return load<u64>(timer(i), HPET_TIMER_CONFIG)
  if (register == 8) return load<u64>(timer(i), HPET_TIMER_COMPARE)
  return register == 0x10 ? load<u64>(timer(i), HPET_TIMER_ROUTE) : 0
}

/** Writes 4 or 8 bytes; narrower accesses are not defined and dropped. */
export function hpet_write(offset: u32, bytes: u32, value: u64): void {
  if (bytes < 4 || (offset & (bytes - 1)) != 0) return
  const guard = vm + VM_LOCK_IRQ
  const now = clock_ns()
  lock(guard)
  const at = offset & ~7
  let mask: u64 = ~(<u64>0)
  if (bytes == 4) {
    mask = offset & 4 ? 0xffff_ffff_0000_0000 : 0xffff_ffff
    if (offset & 4) value <<= 32
  }
  register_write(at, value, mask, now)
  unlock(guard)
  timers_kick()
}

// @ts-ignore: AssemblyScript decorator
@inline
function merge(before: u64, value: u64, mask: u64): u64 {
  return (before & ~mask) | (value & mask)
}

function register_write(at: u32, value: u64, mask: u64, now: f64): void {
  if (at == 0x10) {
    write_config(merge(load<u64>(vm, HPET_CONFIG), value, mask) & (CONFIG_ENABLE | CONFIG_LEGACY), now)
  } else if (at == 0x20) {
    clear_status(value & mask)
  } else if (at == 0xf0) {
    // Defined only while stopped; running, hardware takes it too.
    store<u64>(vm, merge(counter(now), value, mask), HPET_COUNTER)
    store<f64>(vm, now, HPET_START)
    arm_all(now)
  } else if (at >= 0x100 && (at - 0x100) >> 5 < <u32>HPET_TIMER_COUNT) {
    timer_write((at - 0x100) >> 5, at & 0x1f, value, mask, now)
  }
}

function write_config(config: u64, now: f64): void {
  if (enabled()) store<u64>(vm, counter(now), HPET_COUNTER)
  store<f64>(vm, now, HPET_START)
  store<u64>(vm, config, HPET_CONFIG)
  arm_all(now)
}

/** Write 1 to clear; a level interrupt's line falls with its bit. */
function clear_status(bits: u64): void {
  store<u64>(vm, load<u64>(vm, HPET_STATUS) & ~bits, HPET_STATUS)
  for (let i: u32 = 0; i < <u32>HPET_TIMER_COUNT; i++) {
    if ((bits >> i) & 1 && load<u64>(timer(i), HPET_TIMER_CONFIG) & TIMER_LEVEL) drive(i, false)
  }
}

function timer_write(i: u32, register: u32, value: u64, mask: u64, now: f64): void {
  const t = timer(i)
  const config = load<u64>(t, HPET_TIMER_CONFIG)
  if (register == 0) {
    const writable = TIMER_WRITABLE & mask
    let next = (config & ~writable) | (value & writable)
    if (i != 0) next &= ~TIMER_PERIODIC
    store<u64>(t, next, HPET_TIMER_CONFIG)
    if (next & TIMER_32MODE) store<u64>(t, load<u32>(t, HPET_TIMER_COMPARE), HPET_TIMER_COMPARE)
  } else if (register == 8) {
    const width: u64 = config & TIMER_32MODE ? 0xffff_ffff : ~(<u64>0)
    const periodic = (config & TIMER_PERIODIC) != 0
    // In periodic mode a write sets the period; the comparator itself only right after TIMER_SET_VALUE.
    if (!periodic || config & TIMER_SET_VALUE) {
      store<u64>(t, merge(load<u64>(t, HPET_TIMER_COMPARE), value, mask) & width, HPET_TIMER_COMPARE)
    }
    if (periodic) store<u64>(t, merge(load<u64>(t, HPET_TIMER_PERIOD), value, mask) & width, HPET_TIMER_PERIOD)
    store<u64>(t, config & ~TIMER_SET_VALUE, HPET_TIMER_CONFIG)
  } else if (register == 0x10) {
    store<u64>(t, merge(load<u64>(t, HPET_TIMER_ROUTE), value, mask), HPET_TIMER_ROUTE)
    return
  }
  arm(i, now)
  collect()
}

// --- comparators -----------------------------------------------------------------------------------------------------

function arm_all(now: f64): void {
  for (let i: u32 = 0; i < <u32>HPET_TIMER_COUNT; i++) arm(i, now)
  collect()
}

/** Computes when a timer matches next. A match in the past is one wrap of the comparator away. */
function arm(i: u32, now: f64): void {
  const t = timer(i)
  const config = load<u64>(t, HPET_TIMER_CONFIG)
  if (!enabled()) {
    store<f64>(t, Infinity, HPET_TIMER_DEADLINE)
    return
  }
  const current = counter(now)
  let left = load<u64>(t, HPET_TIMER_COMPARE) - current
  if (config & TIMER_32MODE) left &= 0xffff_ffff
  if (config & TIMER_PERIODIC && <i64>left < 0) left = 0
  store<f64>(t, now + <f64>left * NS_PER_TICK, HPET_TIMER_DEADLINE)
}

function collect(): void {
  let deadline: f64 = Infinity
  for (let i: u32 = 0; i < <u32>HPET_TIMER_COUNT; i++) {
    const t = timer(i)
    if (load<u64>(t, HPET_TIMER_CONFIG) & TIMER_ENABLE) deadline = min(deadline, load<f64>(t, HPET_TIMER_DEADLINE))
  }
  store<f64>(vm, deadline, HPET_DEADLINE)
}

/** Fires what is due. Any vCPU may come by; the lock picks one. */
export function hpet_run(now: f64): void {
  if (now < load<f64>(vm, HPET_DEADLINE)) return
  const guard = vm + VM_LOCK_IRQ
  lock(guard)
  for (let i: u32 = 0; i < <u32>HPET_TIMER_COUNT; i++) {
    if (now >= load<f64>(timer(i), HPET_TIMER_DEADLINE)) match(i, now)
  }
  collect()
  unlock(guard)
}

function match(i: u32, now: f64): void {
  const t = timer(i)
  const config = load<u64>(t, HPET_TIMER_CONFIG)
  const wide = (config & TIMER_32MODE) == 0
  const due = load<f64>(t, HPET_TIMER_DEADLINE)
  if (config & TIMER_PERIODIC && load<u64>(t, HPET_TIMER_PERIOD) != 0) {
    const period = max(<f64>load<u64>(t, HPET_TIMER_PERIOD), MIN_PERIOD_TICKS)
    const periods = Math.floor((now - due) / (period * NS_PER_TICK)) + 1
    const compare = load<u64>(t, HPET_TIMER_COMPARE) + <u64>(periods * period)
    store<u64>(t, wide ? compare : compare & 0xffff_ffff, HPET_TIMER_COMPARE)
    store<f64>(t, due + periods * period * NS_PER_TICK, HPET_TIMER_DEADLINE)
  } else {
    // Once more after a full turn of the counter: 43 s for 32 bits, centuries for 64.
    store<f64>(t, wide ? Infinity : due + 4294967296 * NS_PER_TICK, HPET_TIMER_DEADLINE)
  }
  if ((config & TIMER_ENABLE) == 0) return
  if (config & TIMER_FSB) {
    const route = load<u64>(t, HPET_TIMER_ROUTE)
    msi_send(<u32>(route >> 32), <u32>route)
  } else if (config & TIMER_LEVEL) {
    store<u64>(vm, load<u64>(vm, HPET_STATUS) | (<u64>1 << i), HPET_STATUS)
    drive(i, true)
  } else {
    drive(i, true)
    drive(i, false)
  }
}

/** Sets the line that a timer is routed to. */
function drive(i: u32, high: bool): void {
  const config = load<u64>(timer(i), HPET_TIMER_CONFIG)
  if (load<u64>(vm, HPET_CONFIG) & CONFIG_LEGACY && i < 2) {
    const gsi: u32 = i == 0 ? 0 : 8
    if (high) store<u32>(vm + GSI_STATS + (gsi << 2), load<u32>(vm + GSI_STATS + (gsi << 2)) + 1)
    gsi_set_locked(gsi, high)
    return
  }
  const pin = <u32>(config >> 9) & 0x1f
  if (pin < 16 && pin != 2) gsi_set_locked(pin, high)
  else if (pin < <u32>IOAPIC_PINS) ioapic_set_pin(pin, high)
}
