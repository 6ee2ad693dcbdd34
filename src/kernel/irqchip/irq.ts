/** What the run loop asks: is there an interrupt for this vCPU, which one, and it is finished. */
import { LAPIC_PV_EOI, PIC_OUTPUT } from '../../abi/irqchip.ts'
import { EXIT_KIND_INTERRUPT } from '../../abi/exits.ts'
import { CPU_REQ, REQ_INTERRUPT } from '../../abi/layout.ts'
import { count_exit } from '../exit.ts'
import { pv_eoi_offer, pv_eoi_sync } from '../pv.ts'
import { cpu, vm } from '../state.ts'
import { lapic_deliverable, lapic_eoi, lapic_take } from './lapic.ts'
import { pic_ack, pic_reaches } from './pic.ts'

/**
 * Whether an interrupt could be delivered now, looking at priorities but not at IF or the interrupt shadow.
 * Two loads when nothing is pending.
 */
export function irq_pending(): bool {
  if (load<u32>(cpu, LAPIC_PV_EOI)) pv_eoi_sync()
  if (atomic.load<u32>(vm + PIC_OUTPUT) != 0 && pic_reaches(cpu)) return true
  return lapic_deliverable(cpu) >= 0
}

/**
 * Acknowledges the interrupt to deliver and returns its vector, -1 if it has gone. ExtINT comes first: the PIC's
 * INTA cycle is answered before the local APIC's own requests are looked at.
 */
export function irq_ack(): i32 {
  if (load<u32>(cpu, LAPIC_PV_EOI)) pv_eoi_sync()
  let vector: i32 = -1
  if (atomic.load<u32>(vm + PIC_OUTPUT) != 0 && pic_reaches(cpu)) vector = pic_ack(cpu)
  if (vector < 0) {
    vector = lapic_deliverable(cpu)
    if (vector < 0) return -1
    lapic_take(cpu, vector)
    pv_eoi_offer(vector)
  }
  // Of the rest only the PIC's next request can be deliverable: the vector just taken blocks the others until EOI.
  if (atomic.load<u32>(vm + PIC_OUTPUT) != 0 && pic_reaches(cpu)) atomic.or<u32>(cpu + CPU_REQ, REQ_INTERRUPT)
  count_exit(EXIT_KIND_INTERRUPT)
  return vector
}

/** End of interrupt at the local APIC, as a write to its EOI register. */
export function irq_eoi(): void {
  lapic_eoi(cpu)
}
