/**
 * Bits of control registers, RFLAGS, EFER, DR6/DR7, page-table entries and descriptor types, spelt as the SDM spells
 * them, and the MSR indices that more than one module uses.
 */

// RFLAGS (SDM Vol. 1, "EFLAGS Register")
export const EFLAGS_CF: u32 = 0x1
export const EFLAGS_FIXED: u32 = 0x2
export const EFLAGS_PF: u32 = 0x4
export const EFLAGS_AF: u32 = 0x10
export const EFLAGS_ZF: u32 = 0x40
export const EFLAGS_SF: u32 = 0x80
export const EFLAGS_TF: u32 = 0x100
export const EFLAGS_IF: u32 = 0x200
export const EFLAGS_DF: u32 = 0x400
export const EFLAGS_OF: u32 = 0x800
export const EFLAGS_IOPL: u32 = 0x3000
export const EFLAGS_IOPL_SHIFT: u32 = 12
export const EFLAGS_NT: u32 = 0x4000
export const EFLAGS_RF: u32 = 0x1_0000
export const EFLAGS_VM: u32 = 0x2_0000
export const EFLAGS_AC: u32 = 0x4_0000
export const EFLAGS_VIF: u32 = 0x8_0000
export const EFLAGS_VIP: u32 = 0x10_0000
export const EFLAGS_ID: u32 = 0x20_0000
export const EFLAGS_ARITH: u32 = 0x8d5 // CF PF AF ZF SF OF, kept in the lazy form
export const EFLAGS_KNOWN: u32 = 0x3f_7fd5

// Control registers (SDM Vol. 3, "Control Registers")
export const CR0_PE: u32 = 0x1
export const CR0_MP: u32 = 0x2
export const CR0_EM: u32 = 0x4
export const CR0_TS: u32 = 0x8
export const CR0_ET: u32 = 0x10
export const CR0_NE: u32 = 0x20
export const CR0_WP: u32 = 0x1_0000
export const CR0_AM: u32 = 0x4_0000
export const CR0_NW: u32 = 0x2000_0000
export const CR0_CD: u32 = 0x4000_0000
export const CR0_PG: u32 = 0x8000_0000

export const CR4_VME: u32 = 0x1
export const CR4_PVI: u32 = 0x2
export const CR4_TSD: u32 = 0x4
export const CR4_DE: u32 = 0x8
export const CR4_PSE: u32 = 0x10
export const CR4_PAE: u32 = 0x20
export const CR4_MCE: u32 = 0x40
export const CR4_PGE: u32 = 0x80
export const CR4_PCE: u32 = 0x100
export const CR4_OSFXSR: u32 = 0x200
export const CR4_OSXMMEXCPT: u32 = 0x400
export const CR4_UMIP: u32 = 0x800
export const CR4_VMXE: u32 = 0x2000
export const CR4_FSGSBASE: u32 = 0x1_0000
export const CR4_PCIDE: u32 = 0x2_0000
export const CR4_OSXSAVE: u32 = 0x4_0000
export const CR4_SMEP: u32 = 0x10_0000
export const CR4_SMAP: u32 = 0x20_0000

export const EFER_SCE: u32 = 0x1
export const EFER_LME: u32 = 0x100
export const EFER_LMA: u32 = 0x400
export const EFER_NXE: u32 = 0x800

// Debug registers (SDM Vol. 3, "Debug Registers")
export const DR6_FIXED: u32 = 0xffff_0ff0
export const DR6_BD: u32 = 0x2000
export const DR6_BS: u32 = 0x4000
export const DR6_BT: u32 = 0x8000
export const DR7_FIXED: u32 = 0x400
export const DR7_ENABLES: u32 = 0xff
export const DR7_GD: u32 = 0x2000

// Page-table entries (SDM Vol. 3, "Paging")
export const PTE_P: u64 = 0x1
export const PTE_W: u64 = 0x2
export const PTE_U: u64 = 0x4
export const PTE_A: u64 = 0x20
export const PTE_D: u64 = 0x40
export const PTE_PS: u64 = 0x80
export const PTE_G: u64 = 0x100
export const PTE_XD: u64 = 0x8000_0000_0000_0000

// Kinds of an access; bits 1, 2 and 4 are those of the page-fault error code.
export const ACC_READ: u32 = 0
export const ACC_WRITE: u32 = 2
export const ACC_USER: u32 = 4
export const ACC_EXEC: u32 = 16
/** Descriptor tables and TSS: supervisor whatever the CPL, and EFLAGS.AC does not lift SMAP. */
export const ACC_IMPLICIT: u32 = 0x100

// Segment attributes, as CPU_SEG keeps them (abi/layout.ts, SEG_ATTR)
export const ATTR_ACCESSED: u32 = 0x1
export const ATTR_WRITABLE: u32 = 0x2 // data; readable for code
export const ATTR_EXPAND_DOWN: u32 = 0x4 // data; conforming for code
export const ATTR_CODE: u32 = 0x8
export const ATTR_S: u32 = 0x10
export const ATTR_DPL_SHIFT: u32 = 5
export const ATTR_P: u32 = 0x80
export const ATTR_L: u32 = 0x200
export const ATTR_DB: u32 = 0x400
export const ATTR_G: u32 = 0x800

// System descriptor types (SDM Vol. 3, "System Descriptor Types")
export const TYPE_TSS16: u32 = 1
export const TYPE_LDT: u32 = 2
export const TYPE_TSS16_BUSY: u32 = 3
export const TYPE_CALL16: u32 = 4
export const TYPE_TASK_GATE: u32 = 5
export const TYPE_INT16: u32 = 6
export const TYPE_TRAP16: u32 = 7
export const TYPE_TSS: u32 = 9
export const TYPE_TSS_BUSY: u32 = 11
export const TYPE_CALL: u32 = 12
export const TYPE_INT: u32 = 14
export const TYPE_TRAP: u32 = 15

/**
 * Pseudo vectors of CPU_FAULT: the instruction is abandoned and run again, or with FAULT_TRAP taken as done; the guest sees
 * nothing.
 */
export const VECTOR_OUT_OF_MEMORY: u32 = 0xff // the frame pool is empty
export const VECTOR_RETRY: u32 = 0xfe // a LOCK operation lost a race and starts over
