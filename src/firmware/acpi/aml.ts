/**
 * AML encoder: each function returns the bytes of one term (ACPI 6.4 section 20.2). Composition is concatenation.
 */
export type Aml = readonly number[]

const NAME_SCOPE = 0x10
const OP_NAME = 0x08
const OP_METHOD = 0x14
const OP_PACKAGE = 0x12
const OP_BUFFER = 0x11
const OP_DEVICE = [0x5b, 0x82]

const concat = (parts: readonly Aml[]): number[] => parts.flatMap((part) => [...part])

/** NameSeg padded with underscores; `\\_SB.PCI0` and `^X` forms are understood. */
export function path(name: string): Aml {
  let rest = name
  const prefix: number[] = []
  while (rest.startsWith('\\') || rest.startsWith('^')) {
    prefix.push(rest.charCodeAt(0))
    rest = rest.slice(1)
  }
  const segments = rest === '' ? [] : rest.split('.')
  for (const segment of segments) {
    if (!/^[A-Z_][A-Z0-9_]{0,3}$/.test(segment)) throw new Error(`"${name}" is no ACPI name`)
  }
  const bytes = segments.flatMap((segment) => [...segment.padEnd(4, '_')].map((c) => c.charCodeAt(0)))
  if (segments.length === 0) return [...prefix, 0]
  if (segments.length === 1) return [...prefix, ...bytes]
  if (segments.length === 2) return [...prefix, 0x2e, ...bytes]
  return [...prefix, 0x2f, segments.length, ...bytes]
}

/** PkgLength counts itself (section 20.2.4). */
function packaged(body: readonly number[]): number[] {
  const one = body.length + 1
  if (one < 0x40) return [one, ...body]
  const two = body.length + 2
  if (two < 0x1000) return [0x40 | (two & 0xf), two >> 4, ...body]
  const three = body.length + 3
  if (three >= 0x10_0000) throw new Error(`AML package of ${three} bytes is too long`)
  return [0x80 | (three & 0xf), (three >> 4) & 0xff, three >> 12, ...body]
}

export function integer(value: number): Aml {
  if (value === 0) return [0x00]
  if (value === 1) return [0x01]
  if (value < 0x100) return [0x0a, value]
  if (value < 0x1_0000) return [0x0b, value & 0xff, value >> 8]
  if (value <= 0xffff_ffff) return [0x0c, ...bytes32(value)]
  return [0x0e, ...bytes32(value % 0x1_0000_0000), ...bytes32(Math.floor(value / 0x1_0000_0000))]
}

export const bytes16 = (value: number): number[] => [value & 0xff, (value >> 8) & 0xff]
export const bytes32 = (value: number): number[] => [...bytes16(value & 0xffff), ...bytes16(value >>> 16)]

export const string = (text: string): Aml => [0x0d, ...[...text].map((c) => c.charCodeAt(0)), 0]
export const scope = (name: string, body: readonly Aml[]): Aml => [
  NAME_SCOPE,
  ...packaged([...path(name), ...concat(body)]),
]
export const device = (name: string, body: readonly Aml[]): Aml => [
  ...OP_DEVICE,
  ...packaged([...path(name), ...concat(body)]),
]
export const name = (id: string, value: Aml): Aml => [OP_NAME, ...path(id), ...value]
export const method = (id: string, args: number, body: readonly Aml[], serialized = false): Aml => [
  OP_METHOD,
  ...packaged([...path(id), args | (serialized ? 8 : 0), ...concat(body)]),
]
export const packageOf = (items: readonly Aml[]): Aml => [
  OP_PACKAGE,
  ...packaged([items.length, ...concat(items)]),
]
export const buffer = (bytes: readonly number[]): Aml => [
  OP_BUFFER,
  ...packaged([...integer(bytes.length), ...bytes]),
]
export const returns = (value: Aml): Aml => [0xa4, ...value]
export const reference = (id: string): Aml => path(id)
export const arg = (i: number): Aml => [0x68 + i]
export const local = (i: number): Aml => [0x60 + i]
export const store = (value: Aml, target: Aml): Aml => [0x70, ...value, ...target]
export const notify = (target: string, value: number): Aml => [0x86, ...path(target), ...integer(value)]
export const equal = (a: Aml, b: Aml): Aml => [0x93, ...a, ...b]
export const ifThen = (condition: Aml, body: readonly Aml[]): Aml => [
  0xa0,
  ...packaged([...condition, ...concat(body)]),
]
export const invoke = (id: string, args: readonly Aml[]): Aml => [...path(id), ...concat(args)]
export const and = (a: Aml, b: Aml, target: Aml = [0]): Aml => [0x7b, ...a, ...b, ...target]

const REGION_SPACE = { memory: 0, io: 1, pci: 2 } as const

export const operationRegion = (
  id: string,
  space: keyof typeof REGION_SPACE,
  offset: number,
  bytes: number,
): Aml => [0x5b, 0x80, ...path(id), REGION_SPACE[space], ...integer(offset), ...integer(bytes)]

/** Named fields of `bits` each; an undefined name reserves. Access width in bytes 1, 2 or 4. */
export function field(
  region: string,
  accessBytes: 1 | 2 | 4,
  fields: readonly { readonly id?: string; readonly bits: number }[],
): Aml {
  const list = fields.flatMap(({ id, bits }) => [
    ...(id === undefined ? [0] : path(id)),
    ...fieldLength(bits),
  ])
  return [0x5b, 0x81, ...packaged([...path(region), { 1: 1, 2: 2, 4: 3 }[accessBytes], ...list])]
}

/** A field length is encoded like a PkgLength but does not count itself. */
function fieldLength(bits: number): number[] {
  if (bits < 0x40) return [bits]
  if (bits < 0x1000) return [0x40 | (bits & 0xf), bits >> 4]
  return [0x80 | (bits & 0xf), (bits >> 4) & 0xff, bits >> 12]
}

/** EISA id such as PNP0A03 (section 19.3.4). */
export function eisaId(id: string): Aml {
  const code = [...id.slice(0, 3)].map((c) => c.charCodeAt(0) - 0x40)
  const [a = 0, b = 0, c = 0] = code
  const vendor = (a << 10) | (b << 5) | c
  const product = Number.parseInt(id.slice(3), 16)
  return [0x0c, vendor >> 8, vendor & 0xff, product >> 8, product & 0xff]
}

// --- resource descriptors (section 6.4) ---

export const irqNoFlags = (irq: number): number[] => [0x22, ...bytes16(1 << irq)]
export const io = (start: number, end: number, align: number, length: number): number[] => [
  0x47,
  1,
  ...bytes16(start),
  ...bytes16(end),
  align,
  length,
]
/** Extended interrupt: level, active high, shared, one GSI. */
export const interrupt = (gsi: number): number[] => [0x89, ...bytes16(6), 0x09, 1, ...bytes32(gsi)]
export const memory32Fixed = (start: number, bytes: number): number[] => [
  0x86,
  ...bytes16(9),
  1,
  ...bytes32(start),
  ...bytes32(bytes),
]

const WORD_SPACE = 0x88
const DWORD_SPACE = 0x87
type SpaceKind = 'memory' | 'io' | 'bus'
const SPACE: Record<SpaceKind, number> = { memory: 0, io: 1, bus: 2 }

/** Word address space, producer, positive decode, fixed minimum and maximum. */
export const wordSpace = (kind: SpaceKind, min: number, max: number): number[] => [
  WORD_SPACE,
  ...bytes16(13),
  SPACE[kind],
  0x0c,
  kind === 'io' ? 3 : 0,
  ...[0, min, max, 0, max - min + 1].flatMap(bytes16),
]
export const dwordMemory = (min: number, max: number, cacheable: boolean): number[] => [
  DWORD_SPACE,
  ...bytes16(23),
  0,
  0x0c,
  cacheable ? 3 : 1,
  ...[0, min, max, 0, max - min + 1].flatMap(bytes32),
]
export const resources = (items: readonly number[][]): Aml => buffer([...items.flat(), 0x79, 0])
