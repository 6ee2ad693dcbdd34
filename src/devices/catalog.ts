/** Every device there is: the only registration. Contract tests iterate it, the command line and snapshots look up by type. */
import type { AnyDeviceDefinition } from '#hub/device.ts'

import { cmosRtc } from './cmos-rtc.ts'
import { debugConsole } from './debug-console.ts'
import { fwCfg } from './fw-cfg.ts'
import { i440fx } from './i440fx.ts'
import { i8042 } from './i8042.ts'
import { isaDebugExit } from './isa-debug-exit.ts'
import { pcKernelChips } from './pc-kernel-chips.ts'
import { pcTestdev } from './pc-testdev.ts'
import { pciTestdev } from './pci-testdev.ts'
import { piix3 } from './piix3.ts'
import { piix4Pm } from './piix4-pm.ts'
import { pvpanic } from './pvpanic.ts'
import { uart16550a } from './uart-16550a.ts'
import { virtioBlk } from './virtio-blk.ts'
import { virtioConsole } from './virtio-console.ts'
import { virtioRng } from './virtio-rng.ts'

export const CATALOG: readonly AnyDeviceDefinition[] = [
  cmosRtc,
  debugConsole,
  fwCfg,
  i440fx,
  i8042,
  isaDebugExit,
  pcKernelChips,
  pcTestdev,
  pciTestdev,
  piix3,
  piix4Pm,
  pvpanic,
  uart16550a,
  virtioBlk,
  virtioConsole,
  virtioRng,
]

export {
  cmosRtc,
  debugConsole,
  fwCfg,
  i440fx,
  i8042,
  isaDebugExit,
  pcKernelChips,
  pcTestdev,
  pciTestdev,
  piix3,
  piix4Pm,
  pvpanic,
  uart16550a,
  virtioBlk,
  virtioConsole,
  virtioRng,
}
