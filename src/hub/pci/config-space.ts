/**
 * The 256 bytes of a function's configuration space (PCI Local Bus 3.0, section 6.1): values, which bits software may
 * write, which it clears by writing ones, and the capability list. Knows nothing of what the bits do.
 *
 * Offsets of the type 0 header:
 *   00 vendor, device | 04 command, status | 08 revision, class | 0c cache line, latency, header type, BIST
 *   10 six BARs | 2c subsystem | 30 expansion ROM | 34 capability pointer | 3c interrupt line, pin
 */

export const PCI_VENDOR_ID = 0x00
export const PCI_DEVICE_ID = 0x02
export const PCI_COMMAND = 0x04
export const PCI_STATUS = 0x06
export const PCI_REVISION_ID = 0x08
export const PCI_CLASS_PROG = 0x09
export const PCI_CACHE_LINE_SIZE = 0x0c
export const PCI_LATENCY_TIMER = 0x0d
export const PCI_HEADER_TYPE = 0x0e
export const PCI_BASE_ADDRESS_0 = 0x10
export const PCI_SUBSYSTEM_VENDOR_ID = 0x2c
export const PCI_SUBSYSTEM_ID = 0x2e
export const PCI_CAPABILITY_LIST = 0x34
export const PCI_INTERRUPT_LINE = 0x3c
export const PCI_INTERRUPT_PIN = 0x3d

export const PCI_COMMAND_IO = 1
export const PCI_COMMAND_MEMORY = 2
export const PCI_COMMAND_MASTER = 4
export const PCI_COMMAND_PARITY = 0x40
export const PCI_COMMAND_SERR = 0x100
export const PCI_COMMAND_INTX_DISABLE = 0x400
export const PCI_STATUS_INTERRUPT = 8
export const PCI_STATUS_CAP_LIST = 0x10
const PCI_STATUS_W1C = 0xf900

export const PCI_CAP_ID_MSI = 0x05
export const PCI_CAP_ID_VNDR = 0x09
export const PCI_CAP_ID_MSIX = 0x11

export const CONFIG_BYTES = 256
const FIRST_CAPABILITY = 0x40

export class ConfigSpace {
  readonly bytes: Uint8Array
  readonly writable = new Uint8Array(CONFIG_BYTES)
  readonly #clearable = new Uint8Array(CONFIG_BYTES)
  readonly #resetBytes = new Uint8Array(CONFIG_BYTES)
  #capabilityEnd = FIRST_CAPABILITY
  #lastCapability = PCI_CAPABILITY_LIST

  constructor(bytes: Uint8Array = new Uint8Array(CONFIG_BYTES)) {
    this.bytes = bytes.fill(0)
    this.allow(
      PCI_COMMAND,
      2,
      PCI_COMMAND_IO |
        PCI_COMMAND_MEMORY |
        PCI_COMMAND_MASTER |
        PCI_COMMAND_PARITY |
        PCI_COMMAND_SERR |
        PCI_COMMAND_INTX_DISABLE,
    )
    this.allow(PCI_CACHE_LINE_SIZE, 1, 0xff)
    this.allow(PCI_LATENCY_TIMER, 1, 0xff)
    this.#clearable[PCI_STATUS + 1] = PCI_STATUS_W1C >> 8
  }

  get(at: number, bytes: number): number {
    let value = 0
    for (let i = 0; i < bytes; i++) value += (this.bytes[at + i] ?? 0xff) * 2 ** (8 * i)
    return value
  }

  /** Sets bytes as the device does: no masks. */
  set(at: number, bytes: number, value: number): void {
    for (let i = 0; i < bytes; i++) this.bytes[at + i] = value >>> (8 * i)
  }

  /** Declares bits that software may write. */
  allow(at: number, bytes: number, mask: number): void {
    for (let i = 0; i < bytes; i++) this.writable[at + i] = mask >>> (8 * i)
  }

  /** Writes as software does. */
  write(at: number, bytes: number, value: number): void {
    for (let i = 0; i < bytes && at + i < CONFIG_BYTES; i++) {
      const byte = (value >>> (8 * i)) & 0xff
      const mask = this.writable[at + i] as number
      const kept = (this.bytes[at + i] as number) & ~(byte & (this.#clearable[at + i] as number))
      this.bytes[at + i] = (kept & ~mask) | (byte & mask)
    }
  }

  /** Appends a capability of `bytes` bytes (with its two header bytes); returns its offset. */
  addCapability(id: number, bytes: number): number {
    const at = this.#capabilityEnd
    if (at + bytes > CONFIG_BYTES)
      throw new RangeError(`PCI capabilities need more than ${CONFIG_BYTES} bytes`)
    this.#capabilityEnd = (at + bytes + 3) & ~3
    this.bytes[at] = id
    this.bytes[this.#lastCapability] = at
    this.#lastCapability = at + 1
    this.bytes[PCI_STATUS] = (this.bytes[PCI_STATUS] as number) | PCI_STATUS_CAP_LIST
    return at
  }

  /** Call once after the header and the capabilities are laid out: this is the state after reset. */
  seal(): void {
    this.#resetBytes.set(this.bytes)
  }

  reset(): void {
    this.bytes.set(this.#resetBytes)
  }

  /** The bits that differ from reset although nobody may change them; 0 for a genuine image. Offset is where. */
  foreignBits(image: Uint8Array): number | undefined {
    const at = image.findIndex((byte, i) => {
      const fixed = ~((this.writable[i] as number) | (this.#clearable[i] as number))
      return ((byte ^ (this.#resetBytes[i] as number)) & fixed & 0xff) !== 0
    })
    return at < 0 ? undefined : at
  }
}
