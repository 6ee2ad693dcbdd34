/** ACPI power management timer: 3.579545 MHz, 24 or 32 bits (ACPI 6.5, section 4.8.3.3). Its overflow status is the hub's. */
import { PM_TIMER_HZ, PM_TIMER_MASK } from '../../abi/irqchip.ts'
import { clock_ns } from '../clock.ts'
import { vm } from '../state.ts'

export function pm_timer_read(): u32 {
  return <u32>(<u64>(clock_ns() * (<f64>PM_TIMER_HZ / 1e9)) & load<u32>(vm, PM_TIMER_MASK))
}
