/**
 * Decoder of LZ4's legacy frame, which the kernel build writes for CONFIG_KERNEL_LZ4.
 *
 * Frame: magic 0x184c2102, then blocks of [u32 compressed size][block], each up to 8 MiB decompressed.
 * Source: LZ4 frame format description, "Legacy frame"; LZ4 block format description.
 */

const LEGACY_MAGIC = 0x184c2102
const BLOCK_MAX_BYTES = 8 << 20

export function isLz4Legacy(bytes: Uint8Array): boolean {
  return bytes.length > 8 && new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true) === LEGACY_MAGIC
}

/** Decodes until the input ends. `sizeBytes` is the decompressed size the container states. */
export function decodeLz4Legacy(input: Uint8Array, sizeBytes: number): Uint8Array {
  const view = new DataView(input.buffer, input.byteOffset, input.byteLength)
  const output = new Uint8Array(sizeBytes)
  let at = 4
  let filled = 0
  while (at + 4 <= input.length && filled < sizeBytes) {
    const blockBytes = view.getUint32(at, true)
    at += 4
    if (blockBytes === 0 || at + blockBytes > input.length)
      throw new RangeError(`LZ4 block of ${blockBytes} bytes at ${at} exceeds the input`)
    const end = decodeBlock(input.subarray(at, at + blockBytes), output, filled)
    if (end - filled > BLOCK_MAX_BYTES) throw new RangeError('LZ4 block decodes to more than 8 MiB')
    filled = end
    at += blockBytes
  }
  if (filled !== sizeBytes) throw new RangeError(`LZ4 data decodes to ${filled} bytes, want ${sizeBytes}`)
  return output
}

/** Decodes one block to `output` from `start` on; returns the end. Matches never reach before `start`. */
function decodeBlock(input: Uint8Array, output: Uint8Array, start: number): number {
  let at = 0
  let to = start
  const next = (): number => {
    const byte = input[at++]
    if (byte === undefined) throw new RangeError('LZ4 block ends inside a sequence')
    return byte
  }
  const length = (nibble: number): number => {
    let total = nibble
    if (nibble === 15) {
      for (let byte = 255; byte === 255; total += byte) byte = next()
    }
    return total
  }
  while (at < input.length) {
    const token = next()
    const literals = length(token >> 4)
    if (at + literals > input.length || to + literals > output.length)
      throw new RangeError('LZ4 literals exceed the buffer')
    output.set(input.subarray(at, at + literals), to)
    at += literals
    to += literals
    if (at >= input.length) break // the last sequence has literals only
    const offset = next() | (next() << 8)
    const matchBytes = length(token & 15) + 4
    if (offset === 0 || offset > to - start || to + matchBytes > output.length)
      throw new RangeError(`LZ4 match offset ${offset} is out of range`)
    // Byte by byte where source and target overlap: that repeats the pattern, as the format wants.
    if (offset >= matchBytes) output.copyWithin(to, to - offset, to - offset + matchBytes)
    else for (let i = 0; i < matchBytes; i++) output[to + i] = output[to + i - offset] ?? 0
    to += matchBytes
  }
  return to
}
