/** Command line of `npm run bench`. */
import { parseArgs } from 'node:util'

export const PEERS = ['webkvm', 'qemu', 'v86', 'native'] as const
export type PeerName = (typeof PEERS)[number]
export const GROUPS = ['cpu', 'os', 'smp', 'boot', 'programs'] as const
export type Group = (typeof GROUPS)[number]
export type Bits = 32 | 64

export const HELP = `npm run bench [-- OPTIONS]: webkvm in Chromium beside QEMU TCG (a native process) and v86 (Chromium), in one run.

What is measured (default: everything, about 20 minutes):
  --quick              a few kernels of each group with a tenth of the work: 3 minutes
  --groups A,B         of ${GROUPS.join(', ')}
  --kernels A,B        those kernels and programs only (--list names them)
  --peers A,B          of ${PEERS.join(', ')}
  --64, --32           guests of that width only
  --cpus N             vCPUs of webkvm and QEMU (default 2)
  --repeat N           everything N times; the medians are shown
  --cpu-time           judge by the processor time that peers use: for a machine that does other things, too
  --json FILE          the results as a file, too
  --list               names of kernels and programs

Other measurements:
  --boot               where the time of a boot goes
  --profile KERNEL     where the time of a kernel or program goes, by function (--32: in the 32-bit guest)
  --pauses             the longest stalls that a loaded guest sees
  --soak MINUTES       mixed load, watching memory
  --compare OLD,NEW    difference of two files of --json
`

export interface Options {
  readonly command: 'measure' | 'list' | 'boot' | 'profile' | 'pauses' | 'soak' | 'compare' | 'help'
  readonly quick: boolean
  readonly groups: ReadonlySet<Group>
  readonly kernels: ReadonlySet<string> | undefined
  readonly peers: ReadonlySet<PeerName>
  readonly bits: readonly Bits[]
  readonly cpus: number
  readonly repeat: number
  readonly cpuTime: boolean
  readonly json: string | undefined
  /** Value of --profile, --soak or --compare. */
  readonly argument: string
}

export class UsageError extends Error {
  override readonly name = 'UsageError'
}

function parseRaw(args: readonly string[]) {
  return parseArgs({
    args: [...args],
    options: {
      help: { type: 'boolean' },
      quick: { type: 'boolean' },
      groups: { type: 'string' },
      kernels: { type: 'string' },
      peers: { type: 'string' },
      '64': { type: 'boolean' },
      '32': { type: 'boolean' },
      cpus: { type: 'string' },
      repeat: { type: 'string' },
      'cpu-time': { type: 'boolean' },
      json: { type: 'string' },
      list: { type: 'boolean' },
      boot: { type: 'boolean' },
      profile: { type: 'string' },
      pauses: { type: 'boolean' },
      soak: { type: 'string' },
      compare: { type: 'string' },
    },
  }).values
}
type Raw = ReturnType<typeof parseRaw>

function subset<T extends string>(
  text: string | undefined,
  all: readonly T[],
  option: string,
): ReadonlySet<T> {
  if (text === undefined) return new Set(all)
  return new Set(
    text.split(',').map((name) => {
      const found = all.find((known) => known === name)
      if (found === undefined) throw new UsageError(`${option}: no "${name}"; there are ${all.join(', ')}`)
      return found
    }),
  )
}

function count(text: string | undefined, fallback: number, option: string): number {
  const value = text === undefined ? fallback : Number(text)
  if (!(value > 0)) throw new UsageError(`${option} wants a number above 0, not "${text}"`)
  return value
}

function commandOf(raw: Raw): Pick<Options, 'command' | 'argument'> {
  if (raw.help === true) return { command: 'help', argument: '' }
  if (raw.list === true) return { command: 'list', argument: '' }
  if (raw.boot === true) return { command: 'boot', argument: '' }
  if (raw.pauses === true) return { command: 'pauses', argument: '' }
  for (const command of ['profile', 'soak', 'compare'] as const) {
    const argument = raw[command]
    if (argument !== undefined) return { command, argument }
  }
  return { command: 'measure', argument: '' }
}

export function parseOptions(args: readonly string[]): Options {
  let raw: Raw
  try {
    raw = parseRaw(args)
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error), { cause: error })
  }
  const bits: Bits[] = [
    ...(raw['64'] === true ? [64 as const] : []),
    ...(raw['32'] === true ? [32 as const] : []),
  ]
  return {
    ...commandOf(raw),
    quick: raw.quick === true,
    groups: subset(raw.groups, GROUPS, '--groups'),
    kernels: raw.kernels === undefined ? undefined : new Set(raw.kernels.split(',')),
    peers: subset(raw.peers, PEERS, '--peers'),
    bits: bits.length === 0 ? [64, 32] : bits,
    cpus: count(raw.cpus, 2, '--cpus'),
    repeat: count(raw.repeat, 1, '--repeat'),
    cpuTime: raw['cpu-time'] === true,
    json: raw.json,
  }
}
