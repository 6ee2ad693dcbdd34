/**
 * What kernel.wasm exports of the interrupt controllers and clocks: for the hub, the machine and the tests.
 * Paths without `.ts`: asc takes it off in `import` only, and would compile a second copy of each module.
 */
export { bind } from '../state'
export { clock_init, clock_ns, clock_pause, clock_resume, tsc_read, tsc_read_near, tsc_write } from '../clock'
export { log_write } from '../exit'
export { halt_kicked, halt_wait, sys_hlt, sys_pause } from '../halt'
export { sys_vmcall } from '../hypercalls'
export { a20_gate, io_ins_block, io_outs_block, mmio_read, mmio_write, sys_in, sys_out } from '../io'
export { kvm_msr_read, kvm_msr_write, pv_reset } from '../pv'
export { irq_ack, irq_eoi, irq_pending } from './irq'
export { lapic_init, lapic_reset } from './lapic'
export { apic_msr_read, apic_msr_write, cr8_read, cr8_write } from './msr'
export { irqchip_reset, irq_msi, irq_nmi, irq_route_msi, irq_set_gsi } from './routing'
export { next_deadline, timers_run } from './timers'
