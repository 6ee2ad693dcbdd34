/**
 * Field types of the section codec. A type knows its encoding and its domain; `outside` gives a value that the
 * domain excludes (undefined where every bit pattern is legal), which is how the contract tests corrupt a field.
 */
import type { ByteReader, ByteWriter } from './bytes.ts'

export interface StateField<T> {
  encode(out: ByteWriter, value: T): void
  decode(from: ByteReader): T
  /** Writes a payload that decode must refuse; undefined where there is none but a wrong length. */
  readonly encodeOutside?: (out: ByteWriter) => void
}

interface Primitives {
  u8: number
  u16: number
  u32: number
  u64: bigint
  f64: number
  bool: boolean
}

/** A field type: the name of a primitive, or one of the makers below. */
// oxlint-disable-next-line no-explicit-any
export type StateFieldSpec = keyof Primitives | StateField<any>

/** The plain data type of a spec. */
export type TypeOf<Spec> = Spec extends keyof Primitives
  ? Primitives[Spec]
  : Spec extends StateField<infer T>
    ? T
    : never

/** The plain data type of a group of specs. */
export type RecordOf<Specs> = { -readonly [K in keyof Specs]: TypeOf<Specs[K]> }

const PRIMITIVES: { readonly [K in keyof Primitives]: StateField<Primitives[K]> } = {
  u8: { encode: (out, value) => out.u8(value), decode: (from) => from.u8() },
  u16: { encode: (out, value) => out.u16(value), decode: (from) => from.u16() },
  u32: { encode: (out, value) => out.u32(value), decode: (from) => from.u32() },
  u64: { encode: (out, value) => out.u64(value), decode: (from) => from.u64() },
  f64: {
    encode: (out, value) => out.f64(value),
    decode: (from) => {
      const value = from.f64()
      if (Number.isNaN(value)) from.fail('is not a number')
      return value
    },
    encodeOutside: (out) => out.f64(Number.NaN),
  },
  bool: {
    encode: (out, value) => out.u8(value ? 1 : 0),
    decode: (from) => {
      const value = from.u8()
      if (value > 1) from.fail(`is ${value}, not 0 or 1`)
      return value === 1
    },
    encodeOutside: (out) => out.u8(2),
  },
}

export function fieldOf<Spec extends StateFieldSpec>(spec: Spec): StateField<TypeOf<Spec>> {
  const name: StateFieldSpec = spec
  return (typeof name === 'string' ? PRIMITIVES[name] : name) as StateField<TypeOf<Spec>>
}

/** An unsigned integer of at most `max` (below 2^32). */
export function upTo(max: number): StateField<number> {
  return {
    encode: (out, value) => out.u32(value),
    decode: (from) => {
      const value = from.u32()
      if (value > max) from.fail(`is ${value}, more than ${max}`)
      return value
    },
    ...(max < 0xffff_ffff ? { encodeOutside: (out: ByteWriter) => out.u32(max + 1) } : {}),
  }
}

/** Unsigned bits within a mask. */
export function bits(mask: number): StateField<number> {
  return {
    encode: (out, value) => out.u32(value),
    decode: (from) => {
      const value = from.u32()
      if ((value & ~mask) !== 0) from.fail(`has bits outside 0x${(mask >>> 0).toString(16)}`)
      return value
    },
    encodeOutside: (out) => out.u32(~mask >>> 0),
  }
}

/** Exactly `length` bytes. */
export function bytes(length: number): StateField<Uint8Array> {
  return { encode: (out, value) => out.raw(value), decode: (from) => from.raw(length) }
}

/** Up to `max` bytes. */
export function blob(max: number): StateField<Uint8Array> {
  return {
    encode: (out, value) => out.block(value),
    decode: (from) => {
      const value = from.block()
      if (value.length > max) from.fail(`has ${value.length} bytes, more than ${max}`)
      return value
    },
    ...(max < 0x1_0000 ? { encodeOutside: (out: ByteWriter) => out.block(new Uint8Array(max + 1)) } : {}),
  }
}

/** Up to `max` items. */
export function list<Spec extends StateFieldSpec>(of: Spec, max: number): StateField<TypeOf<Spec>[]> {
  const item = fieldOf(of)
  return {
    encode: (out, value) => {
      out.u32(value.length)
      for (const one of value) item.encode(out, one)
    },
    decode: (from) => {
      const count = from.u32()
      if (count > max) from.fail(`has ${count} items, more than ${max}`)
      const value: TypeOf<Spec>[] = []
      for (let i = 0; i < count; i++) value.push(item.decode(from))
      return value
    },
    encodeOutside: (out) => out.u32(max + 1),
  }
}

/** A fixed group of fields. */
export function record<const Specs extends Readonly<Record<string, StateFieldSpec>>>(
  specs: Specs,
): StateField<RecordOf<Specs>> {
  const fields = Object.entries(specs).map(
    ([key, spec]) => [key, fieldOf(spec) as StateField<unknown>] as const,
  )
  const fragile = fields.find(([, field]) => field.encodeOutside !== undefined)
  return {
    encode: (out, value) => {
      for (const [key, field] of fields) field.encode(out, (value as Record<string, unknown>)[key])
    },
    decode: (from) => {
      const value: Record<string, unknown> = {}
      for (const [key, field] of fields) value[key] = field.decode(from)
      return value as RecordOf<Specs>
    },
    // Too short is wrong for every record that has fields at all.
    ...(fragile ? { encodeOutside: () => undefined } : {}),
  }
}
