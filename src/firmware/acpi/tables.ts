/**
 * The static ACPI tables: RSDP, XSDT, RSDT, FADT, FACS, MADT, DSDT (ACPI 6.4 chapter 5). One contiguous image for a
 * given gpa; the same image serves direct kernel boot and firmware that copies it.
 */
import { ByteWriter, checksum } from '../byte-writer.ts'
import { ACPI_GPE0_BASE, ACPI_PM_BASE, ACPI_SCI_IRQ, IOAPIC_BASE, LAPIC_BASE } from '../memory-map.ts'
import { PIRQ_IRQS } from '../pci-setup.ts'
import { dsdtBody } from './dsdt.ts'
import type { DsdtConfig } from './dsdt.ts'

const OEM_ID = 'WEBKVM'
const OEM_TABLE = 'WKVMPC  '
const HEADER_BYTES = 36

/** SMI command port and the values that switch ACPI mode, as PIIX4 boards use them. */
const SMI_COMMAND_PORT = 0xb2
const ACPI_ENABLE = 0xf1
const ACPI_DISABLE = 0xf0

export interface AcpiConfig extends DsdtConfig {
  /** APIC ids of vCPUs present at boot, then those that may be plugged in later. */
  readonly apicIds: readonly number[]
  readonly maxVcpus: number
}

export interface AcpiImage {
  readonly bytes: Uint8Array
  /** gpa of the RSDP within the image. */
  readonly rsdp: number
}

function table(signature: string, revision: number, body: Uint8Array): Uint8Array {
  const out = new ByteWriter()
    .text(signature, 4)
    .u32(HEADER_BYTES + body.length)
    .u8(revision)
    .u8(0)
    .text(OEM_ID, 6, 0x20)
    .text(OEM_TABLE, 8, 0x20)
    .u32(1)
    .text('WKVM', 4)
    .u32(1)
    .bytes(body)
  const bytes = out.finish()
  bytes[9] = checksum(bytes)
  return bytes
}

function gas(port: number, bits: number): ByteWriter {
  return new ByteWriter()
    .u8(1)
    .u8(bits)
    .u8(0)
    .u8(bits === 8 ? 1 : bits === 16 ? 2 : 3)
    .u64(port)
}

const FADT_WBINVD = 1
const FADT_PROC_C1 = 1 << 2
const FADT_SLP_BUTTON = 1 << 5 // no sleep button
const FADT_RTC_S4 = 1 << 7
const FADT_TMR_VAL_EXT = 1 << 8
const FADT_RESET_REG = 1 << 10
const FADT_PHYSICAL_APIC = 1 << 19
const IAPC_LEGACY_DEVICES = 1
const IAPC_8042 = 2

function fadt(facsGpa: number, dsdtGpa: number, config: AcpiConfig): Uint8Array {
  const body = new ByteWriter()
    .u32(facsGpa)
    .u32(dsdtGpa)
    .u8(0)
    .u8(0) // preferred profile: unspecified
    .u16(ACPI_SCI_IRQ)
    .u32(SMI_COMMAND_PORT)
    .u8(ACPI_ENABLE)
    .u8(ACPI_DISABLE)
    .u8(0)
    .u8(0)
    .u32(ACPI_PM_BASE) // PM1a_EVT
    .u32(0)
    .u32(ACPI_PM_BASE + 4) // PM1a_CNT
    .u32(0)
    .u32(0)
    .u32(ACPI_PM_BASE + 8) // PM_TMR
    .u32(ACPI_GPE0_BASE)
    .u32(0)
    .u8(4) // PM1_EVT_LEN
    .u8(2)
    .u8(0)
    .u8(4)
    .u8(4) // GPE0_BLK_LEN
    .u8(0)
    .u8(0)
    .u8(0)
    .u16(0xfff) // C2 latency: not supported
    .u16(0xfff)
    .zeros(4) // flush size, stride
    .u8(0)
    .u8(0)
    .u8(0)
    .u8(0)
    .u8(0x32) // century byte of the RTC
    .u16(IAPC_LEGACY_DEVICES | (config.keyboard ? IAPC_8042 : 0))
    .u8(0)
    .u32(
      FADT_WBINVD |
        FADT_PROC_C1 |
        FADT_SLP_BUTTON |
        FADT_RTC_S4 |
        FADT_TMR_VAL_EXT |
        FADT_RESET_REG |
        (config.maxVcpus > 8 ? FADT_PHYSICAL_APIC : 0),
    )
    .bytes(gas(0xcf9, 8).finish())
    .u8(0x0f) // reset value: full reset
    .u16(0)
    .u8(0)
    .u64(facsGpa)
    .u64(dsdtGpa)
    .bytes(gas(ACPI_PM_BASE, 32).finish())
    .zeros(12)
    .bytes(gas(ACPI_PM_BASE + 4, 16).finish())
    .zeros(24)
    .bytes(gas(ACPI_PM_BASE + 8, 32).finish())
    .bytes(gas(ACPI_GPE0_BASE, 32).finish())
    .zeros(12)
    .zeros(24) // sleep control and status registers
  return table('FACP', 5, body.finish())
}

function facs(): Uint8Array {
  return new ByteWriter().text('FACS', 4).u32(64).zeros(24).u8(2).align(64).finish()
}

const MADT_PCAT_COMPAT = 1
const POLARITY_HIGH_LEVEL = 0xd

function madt(config: AcpiConfig): Uint8Array {
  const body = new ByteWriter().u32(LAPIC_BASE).u32(MADT_PCAT_COMPAT)
  for (let i = 0; i < config.maxVcpus; i++) {
    const present = i < config.apicIds.length
    const apicId = config.apicIds[i] ?? i
    if (apicId < 255)
      body
        .u8(0)
        .u8(8)
        .u8(i)
        .u8(apicId)
        .u32(present ? 1 : 0)
    else
      body
        .u8(9)
        .u8(16)
        .u16(0)
        .u32(apicId)
        .u32(present ? 1 : 0)
        .u32(i)
  }
  body.u8(1).u8(12).u8(0).u8(0).u32(IOAPIC_BASE).u32(0)
  // The PIT's IRQ 0 arrives at pin 2; PCI interrupts and the SCI are level, active high.
  body.u8(2).u8(10).u8(0).u8(0).u32(2).u16(0)
  const levels = new Set<number>([ACPI_SCI_IRQ, ...PIRQ_IRQS])
  for (const irq of [...levels].sort((a, b) => a - b))
    body.u8(2).u8(10).u8(0).u8(irq).u32(irq).u16(POLARITY_HIGH_LEVEL)
  body.u8(4).u8(6).u8(0xff).u16(0).u8(1) // NMI on LINT1 of every processor
  return table('APIC', 3, body.finish())
}

/** Builds all tables for placement at gpa (16-byte aligned), RSDP first. */
export function acpiTables(gpa: number, config: AcpiConfig): AcpiImage {
  const out = new ByteWriter().zeros(64) // room for the RSDP
  const place = (bytes: Uint8Array): number => {
    out.align(64)
    const at = gpa + out.length
    out.bytes(bytes)
    return at
  }
  const facsGpa = place(facs())
  const dsdtGpa = place(table('DSDT', 2, dsdtBody(config)))
  const tables = [place(fadt(facsGpa, dsdtGpa, config)), place(madt(config))]
  const rsdt = new ByteWriter()
  for (const address of tables) rsdt.u32(address)
  const rsdtGpa = place(table('RSDT', 1, rsdt.finish()))
  const xsdt = new ByteWriter()
  for (const address of tables) xsdt.u64(address)
  const xsdtGpa = place(table('XSDT', 1, xsdt.finish()))
  const bytes = out.finish()
  bytes.set(rsdp(rsdtGpa, xsdtGpa))
  return { bytes, rsdp: gpa }
}

function rsdp(rsdtGpa: number, xsdtGpa: number): Uint8Array {
  const bytes = new ByteWriter()
    .text('RSD PTR ')
    .u8(0)
    .text(OEM_ID, 6, 0x20)
    .u8(2)
    .u32(rsdtGpa)
    .u32(36)
    .u64(xsdtGpa)
    .u8(0)
    .zeros(3)
    .finish()
  bytes[8] = checksum(bytes.subarray(0, 20))
  bytes[32] = checksum(bytes)
  return bytes
}
