/**
 * The hub's views of shared memory. Shared memory may grow, and old views then stay valid for what they covered;
 * VM and CPU structs lie below the initial size for the VM's whole life, so one set of views serves it.
 */

export interface SharedWords {
  readonly u8: Uint8Array
  readonly u16: Uint16Array
  readonly i32: Int32Array
  readonly u32: Uint32Array
  readonly f64: Float64Array
}

export function sharedWords(buffer: ArrayBufferLike): SharedWords {
  const whole = buffer.byteLength & ~7
  return {
    u8: new Uint8Array(buffer),
    u16: new Uint16Array(buffer, 0, whole / 2),
    i32: new Int32Array(buffer, 0, whole / 4),
    u32: new Uint32Array(buffer, 0, whole / 4),
    f64: new Float64Array(buffer, 0, whole / 8),
  }
}
