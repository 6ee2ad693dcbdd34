/**
 * Guests of a few bytes: multiboot 1 images (Multiboot Specification 0.6.96, "The layout of Multiboot header") whose
 * code runs at 1 MiB + 32 in 32-bit protected mode with flat segments and interrupts off.
 */
const HEADER_BYTES = 32
const LOAD_GPA = 0x10_0000

/** A multiboot image of this code; labels are worked out by hand and checked with objdump -b binary -m i386. */
export function multiboot(code: readonly number[]): Buffer {
  const magic = 0x1bad_b002
  const flags = 0x1_0000 // the address fields are valid: no ELF needed
  const entry = LOAD_GPA + HEADER_BYTES
  const words = [magic, flags, -(magic + flags) >>> 0, LOAD_GPA, LOAD_GPA, 0, 0, entry]
  const image = Buffer.alloc(HEADER_BYTES + code.length)
  words.forEach((word, i) => image.writeUInt32LE(word >>> 0, i * 4))
  Buffer.from(code).copy(image, HEADER_BYTES)
  return image
}

const u16 = (value: number): number[] => [value & 0xff, (value >> 8) & 0xff]
const u32 = (value: number): number[] => [...u16(value & 0xffff), ...u16(value >>> 16)]

/** cli; hlt; jmp back to the hlt: a vCPU that sleeps for ever. */
const HALT = [0xfa, 0xf4, 0xeb, 0xfd]

export const haltGuest = (): Buffer => multiboot(HALT)

/** Loads an IDT of limit 0 (six zero bytes behind the code) and raises #BP: #GP, #DF, shutdown. */
export const tripleFaultGuest = (): Buffer => {
  const code = [0x0f, 0x01, 0x1d, ...u32(LOAD_GPA + HEADER_BYTES + 16), 0xcc] // lidt [zeros]; int3
  return multiboot([...code, ...Array.from({ length: 16 - code.length + 6 }, () => 0)])
}

/** mov edx, 0x3f8, then for each byte mov al, byte; out dx, al. */
const print = (text: string): number[] => [
  0xba,
  ...u32(0x3f8),
  ...[...Buffer.from(text)].flatMap((byte) => [0xb0, byte, 0xee]),
]

/** Writes text to COM1 and goes to sleep. */
export const printGuest = (text: string): Buffer => multiboot([...print(text), ...HALT])

/** Writes text to COM1, then jumps to itself: a vCPU that never leaves guest code. */
export const spinGuest = (text = ''): Buffer => multiboot([...print(text), 0xeb, 0xfe])

/** Writes text to COM1 without end. */
export const babbleGuest = (text: string): Buffer => {
  const code = print(text)
  return multiboot([...code, 0xe9, ...u32(-(code.length + 5))])
}

/** Writes to isa-debug-exit: the machine ends with status value * 2 + 1. */
export const debugExitGuest = (value: number): Buffer => multiboot([0xb0, value, 0xe6, 0xf4, ...HALT]) // mov al, value; out 0xf4, al

/**
 * Writes and reads every port in bytes and doublewords, then sleeps. The value is 2 in every byte, which keeps the
 * machine on: in port 0x92 it leaves A20 open, in 0xcf9 it asks for no reset.
 */
export const hammerPortsGuest = (): Buffer =>
  multiboot([
    ...[0x31, 0xd2], // 00 xor edx, edx
    ...[0xb8, ...u32(0x0202_0202)], // 02 loop: mov eax, 0x02020202
    ...[0xee, 0xec], // 07 out dx, al; in al, dx
    ...[0xb8, ...u32(0x0202_0202)], // 09 mov eax, 0x02020202
    ...[0xef, 0xed], // 0e out dx, eax; in eax, dx
    ...[0x66, 0x42], // 10 inc dx
    ...[0x75, 0xee], // 12 jnz loop
    ...HALT, // 14
  ])
