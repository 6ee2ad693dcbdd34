/**
 * Section codec: the state of one component as named, sized, typed fields. Encoding is self-describing so that an
 * old section can be read and migrated, and so that a damaged one is named field by field.
 *
 *   u16 version | u16 field count | per field: u8 name length, name (ASCII), u32 payload length, payload
 *
 * Decoding yields plain data that was checked; the caller constructs from it and never pokes a live object.
 * A snapshot is untrusted input: every length is checked before use.
 */
import { type RecordOf, type StateField, type StateFieldSpec, fieldOf } from './fields.ts'
import { ByteReader, ByteWriter, SnapshotError } from './bytes.ts'

export { SnapshotError } from './bytes.ts'

export interface StateCodec<State> {
  readonly name: string
  readonly version: number
  /** Field names with their types, for tools and tests. */
  readonly fields: Readonly<Record<string, StateField<unknown>>>
  encode(state: State): Uint8Array<ArrayBuffer>
  /** Throws SnapshotError naming the section and the field. */
  decode(bytes: Uint8Array): State
}

/** Turns the plain fields of version n into those of version n + 1; each names its filler. */
export type Migrations = Readonly<Record<number, (old: Record<string, unknown>) => Record<string, unknown>>>

interface CodecOptions<State> {
  /** Version n: its field specs (those that differ) and the step to n + 1. */
  readonly migrate?: Migrations
  /** Field types of older versions, where a field's type changed or a field was dropped. */
  readonly formerFields?: Readonly<Record<string, StateFieldSpec>>
  /** Relations between fields: a text says what is wrong. */
  readonly check?: (state: State) => string | undefined
}

export function stateCodec<const Specs extends Readonly<Record<string, StateFieldSpec>>>(
  name: string,
  version: number,
  specs: Specs,
  options: CodecOptions<RecordOf<Specs>> = {},
): StateCodec<RecordOf<Specs>> {
  const fields: Record<string, StateField<unknown>> = {}
  for (const [key, spec] of Object.entries(specs)) fields[key] = fieldOf(spec)
  const former: Record<string, StateField<unknown>> = { ...fields }
  for (const [key, spec] of Object.entries(options.formerFields ?? {})) former[key] = fieldOf(spec)

  function finish(raw: Record<string, unknown>): RecordOf<Specs> {
    for (const key of Object.keys(fields)) {
      if (!(key in raw)) throw new SnapshotError(name, `field "${key}" is missing`)
    }
    for (const key of Object.keys(raw)) {
      if (!(key in fields)) throw new SnapshotError(name, `there is no field "${key}"`)
    }
    const state = raw as RecordOf<Specs>
    const wrong = options.check?.(state)
    if (wrong !== undefined) throw new SnapshotError(name, wrong)
    return state
  }

  return {
    name,
    version,
    fields,
    encode(state) {
      const out = new ByteWriter()
      out.u16(version)
      out.u16(Object.keys(fields).length)
      for (const [key, field] of Object.entries(fields)) {
        out.name(key)
        const payload = new ByteWriter()
        field.encode(payload, (state as Record<string, unknown>)[key])
        out.block(payload.bytes())
      }
      return out.bytes()
    },
    decode(bytes) {
      const reader = new ByteReader(name, bytes)
      const found = reader.u16()
      if (found === 0 || found > version) {
        throw new SnapshotError(name, `version ${found} is not known here (up to ${version})`)
      }
      let raw = readFields(reader, name, found === version ? fields : former)
      for (let step = found; step < version; step++) {
        const migrate = options.migrate?.[step]
        if (migrate === undefined) throw new SnapshotError(name, `version ${found} can no longer be read`)
        raw = migrate(raw)
      }
      return finish(raw)
    },
  }
}

function readFields(
  reader: ByteReader,
  section: string,
  fields: Record<string, StateField<unknown>>,
): Record<string, unknown> {
  const raw: Record<string, unknown> = {}
  for (let left = reader.u16(); left > 0; left--) {
    const key = reader.name()
    if (!Object.hasOwn(fields, key)) throw new SnapshotError(section, `there is no field "${key}"`)
    if (Object.hasOwn(raw, key)) throw new SnapshotError(section, `field "${key}" stands twice`)
    const payload = new ByteReader(`${section}.${key}`, reader.block())
    raw[key] = fields[key]?.decode(payload)
    payload.end()
  }
  reader.end()
  return raw
}
