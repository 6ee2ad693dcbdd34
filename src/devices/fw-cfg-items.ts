/** The contents of fw_cfg: numbered items and named files. Firmware code fills it, devices/fw-cfg.ts serves it. */

export const FW_CFG_SIGNATURE = 0x00
export const FW_CFG_ID = 0x01
export const FW_CFG_UUID = 0x02
export const FW_CFG_RAM_SIZE = 0x03
export const FW_CFG_NOGRAPHIC = 0x04
export const FW_CFG_NB_CPUS = 0x05
export const FW_CFG_KERNEL_ADDR = 0x07
export const FW_CFG_KERNEL_SIZE = 0x08
export const FW_CFG_INITRD_ADDR = 0x0a
export const FW_CFG_INITRD_SIZE = 0x0b
export const FW_CFG_BOOT_MENU = 0x0e
export const FW_CFG_MAX_CPUS = 0x0f
export const FW_CFG_KERNEL_ENTRY = 0x10
export const FW_CFG_KERNEL_DATA = 0x11
export const FW_CFG_INITRD_DATA = 0x12
export const FW_CFG_CMDLINE_ADDR = 0x13
export const FW_CFG_CMDLINE_SIZE = 0x14
export const FW_CFG_CMDLINE_DATA = 0x15
export const FW_CFG_SETUP_ADDR = 0x16
export const FW_CFG_SETUP_SIZE = 0x17
export const FW_CFG_SETUP_DATA = 0x18
export const FW_CFG_FILE_DIR = 0x19
const FW_CFG_FILE_FIRST = 0x20
const FW_CFG_FILES_MAX = 0x3fe0
export const FW_CFG_ARCH_LOCAL = 0x8000
export const FW_CFG_IRQ0_OVERRIDE = 0x8002
export const FW_CFG_E820_TABLE = 0x8003

/** Traditional and DMA interface. */
const VERSION = 3
const NAME_BYTES = 56
const ENTRY_BYTES = 64

export class FwCfgItems {
  readonly #items = new Map<number, Uint8Array>()
  readonly #files = new Map<string, Uint8Array>()
  #directory: Uint8Array | undefined

  constructor() {
    this.setItem(FW_CFG_SIGNATURE, new TextEncoder().encode('QEMU'))
    this.setU32(FW_CFG_ID, VERSION)
  }

  setItem(selector: number, bytes: Uint8Array): void {
    this.#items.set(selector, bytes)
  }

  setU16(selector: number, value: number): void {
    this.#items.set(selector, Uint8Array.of(value & 0xff, value >> 8))
  }

  setU32(selector: number, value: number): void {
    const bytes = new Uint8Array(4)
    new DataView(bytes.buffer).setUint32(0, value, true)
    this.#items.set(selector, bytes)
  }

  setU64(selector: number, value: bigint): void {
    const bytes = new Uint8Array(8)
    new DataView(bytes.buffer).setBigUint64(0, value, true)
    this.#items.set(selector, bytes)
  }

  /** A file by name: at most 55 ASCII characters, such as etc/e820. */
  setFile(name: string, bytes: Uint8Array): void {
    if (name.length >= NAME_BYTES)
      throw new RangeError(`fw_cfg file name "${name}" is longer than ${NAME_BYTES - 1}`)
    if (this.#files.size >= FW_CFG_FILES_MAX) throw new RangeError('fw_cfg has no room for more files')
    this.#files.set(name, bytes)
    this.#directory = undefined
  }

  /** Sorted, so that selectors do not depend on the order of setFile(). */
  get #sorted(): [string, Uint8Array][] {
    return [...this.#files].toSorted(([a], [b]) => (a < b ? -1 : 1))
  }

  item(selector: number): Uint8Array | undefined {
    if (selector === FW_CFG_FILE_DIR) return (this.#directory ??= this.#encodeDirectory())
    if (selector < FW_CFG_FILE_FIRST || selector >= FW_CFG_ARCH_LOCAL) return this.#items.get(selector)
    return this.#sorted[selector - FW_CFG_FILE_FIRST]?.[1]
  }

  /** count u32, then per file: size u32, selector u16, reserved u16, name; all big-endian. */
  #encodeDirectory(): Uint8Array {
    const files = this.#sorted
    const bytes = new Uint8Array(4 + ENTRY_BYTES * files.length)
    const view = new DataView(bytes.buffer)
    view.setUint32(0, files.length)
    files.forEach(([name, content], index) => {
      const at = 4 + ENTRY_BYTES * index
      view.setUint32(at, content.length)
      view.setUint16(at + 4, FW_CFG_FILE_FIRST + index)
      bytes.set(new TextEncoder().encode(name), at + 8)
    })
    return bytes
  }
}
