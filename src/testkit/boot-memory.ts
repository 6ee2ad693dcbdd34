/** BootMemory over a plain buffer, for tests of loaders and tables. */
import type { BootMemory } from '#firmware/boot.ts'

export class FakeBootMemory implements BootMemory {
  readonly ramBytes: number
  readonly bytes: Uint8Array<ArrayBuffer>

  constructor(ramBytes: number) {
    this.ramBytes = ramBytes
    this.bytes = new Uint8Array(ramBytes)
  }

  write(gpa: number, bytes: Uint8Array): void {
    if (!this.isRam(gpa, bytes.length)) throw new RangeError(`write outside RAM at 0x${gpa.toString(16)}`)
    this.bytes.set(bytes, gpa)
  }

  isRam(gpa: number, bytes: number): boolean {
    return gpa >= 0 && gpa + bytes <= this.ramBytes
  }

  u32(gpa: number): number {
    return new DataView(this.bytes.buffer).getUint32(gpa, true)
  }

  text(gpa: number): string {
    const end = this.bytes.indexOf(0, gpa)
    return new TextDecoder('latin1').decode(this.bytes.subarray(gpa, end))
  }
}
