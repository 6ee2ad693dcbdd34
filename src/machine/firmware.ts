/**
 * What stands in memory and in registers before the first guest instruction: firmware tables, the loaded kernel or the
 * BIOS ROM, PCI resources. Runs at power-on and at every reset.
 */
import { acpiTables } from '#firmware/acpi/tables.ts'
import { BootError, formatBytes } from '#firmware/boot.ts'
import type { BootMemory } from '#firmware/boot.ts'
import { loadKernel } from '#firmware/load-kernel.ts'
import { ABOVE_4G, ACPI_PM_BASE, FIRMWARE_TABLES, ramLayout } from '#firmware/memory-map.ts'
import { PCI_WINDOWS, PIRQ_IRQS } from '#firmware/pci-setup.ts'
import { smbiosTables } from '#firmware/smbios.ts'
import type { Hub } from '#hub/hub.ts'
import { assignPciResources } from '#hub/pci/assign.ts'
import type { GuestRam } from '#memory/guest-memory.ts'
import { applyBootState } from './boot-state.ts'
import type { MachineOptions, ResolvedConfig } from './config.ts'
import type { KernelInstance } from './kernel-instance.ts'
import { MACHINE_TYPE } from './pc.ts'

export interface LoadedImages {
  readonly kernel: Uint8Array | undefined
  readonly kernelName: string
  readonly initrd: Uint8Array | undefined
  readonly bios: Uint8Array | undefined
  readonly modules: readonly { readonly bytes: Uint8Array; readonly cmdline: string }[]
}

export interface FirmwareContext {
  readonly hub: Hub
  readonly guest: GuestRam
  readonly kernel: KernelInstance
  readonly buffer: ArrayBufferLike
  readonly bootCpu: number
  readonly config: ResolvedConfig
  readonly images: LoadedImages
  readonly options: MachineOptions
}

const SMBIOS_AT = 0xf_0000
const BIOS_MIN = 0x1_0000
const BIOS_MAX = 0x40_0000
const BIOS_LOW_MAX = 0x2_0000

const PIIX_SLOT = 1
const ISA_FUNCTION = 0
const PM_FUNCTION = 3
const PIIX3_PIRQ = 0x60
const PIIX4_PMBASE = 0x40
const PIIX4_PMREGMISC = 0x80

export function placeFirmware(context: FirmwareContext): void {
  const { images, bootCpu, buffer, kernel } = context
  if (images.bios !== undefined) placeBios(context, images.bios)
  else setUpBoard(context.hub)
  if (images.kernel === undefined) return
  const rsdp = writeTables(context)
  const state = loadKernel(bootMemory(context), {
    kernel: images.kernel,
    kernelName: images.kernelName,
    initrd: images.initrd,
    cmdline: context.options.append ?? '',
    modules: images.modules,
    rsdp,
  })
  applyBootState(buffer, bootCpu, state)
  kernel.asCpu(bootCpu, (exports) => exports.update_mode())
}

/** What a BIOS would have done to the chipset. */
function setUpBoard(hub: Hub): void {
  assignPciResources(hub.pci, PCI_WINDOWS)
  PIRQ_IRQS.forEach((irq, i) => hub.pci.configWrite(PIIX_SLOT, ISA_FUNCTION, PIIX3_PIRQ + i, 1, irq))
  hub.pci.configWrite(PIIX_SLOT, PM_FUNCTION, PIIX4_PMBASE, 4, ACPI_PM_BASE | 1)
  hub.pci.configWrite(PIIX_SLOT, PM_FUNCTION, PIIX4_PMREGMISC, 1, 1)
}

function writeTables({ guest, config }: FirmwareContext): number {
  const apicIds = Array.from({ length: config.cpus }, (_, i) => i)
  const acpi = acpiTables(FIRMWARE_TABLES, {
    apicIds,
    maxVcpus: config.cpus,
    uarts: config.serialPorts,
    keyboard: true,
  })
  guest.write(FIRMWARE_TABLES, acpi.bytes)
  // A fixed UUID: licences and DHCP leases in the guest hang on it.
  const uuid = Uint8Array.from([0x77, 0x65, 0x62, 0x6b, 0x76, 0x6d, 0x40, 0, 0x80, 0, 0, 0, 0, 0, 0, 1])
  guest.write(
    SMBIOS_AT,
    smbiosTables(SMBIOS_AT, {
      ramBytes: config.ramBytes,
      vcpus: config.cpus,
      product: 'webkvm',
      machine: MACHINE_TYPE,
      uuid,
    }),
  )
  return acpi.rsdp
}

function bootMemory({ guest, config }: FirmwareContext): BootMemory {
  const { low, high } = ramLayout(config.ramBytes)
  return {
    ramBytes: config.ramBytes,
    write: (gpa, bytes) => guest.write(gpa, bytes),
    isRam: (gpa, bytes) =>
      gpa >= 0 && (gpa + bytes <= low || (gpa >= ABOVE_4G && gpa + bytes <= ABOVE_4G + high)),
  }
}

/** ROM below 4 GiB; its last 128 KiB also below 1 MiB, where the reset vector's segment looks. */
function placeBios({ guest, images }: FirmwareContext, bios: Uint8Array): void {
  const fits = bios.length >= BIOS_MIN && bios.length <= BIOS_MAX && bios.length % BIOS_MIN === 0
  if (!fits) {
    throw new BootError(
      `the BIOS image has ${formatBytes(bios.length)}: it must be a multiple of 64 KiB, from 64 KiB to 4 MiB`,
    )
  }
  guest.mapRom(ABOVE_4G - bios.length, bios)
  const low = bios.subarray(bios.length - Math.min(bios.length, BIOS_LOW_MAX))
  guest.mapRom(0x10_0000 - low.length, low)
  if (images.kernel !== undefined) throw new BootError('a kernel and a BIOS were given: choose one')
}
