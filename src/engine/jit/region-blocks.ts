/** The blocks of a region before they are written: where each leads, its statements, what it knows of the flags. */
import type { Statement } from '../emit/ir.ts'
import { keyOf } from './discover.ts'
import type { Block, Region } from './discover.ts'
import { IN_STRUCT, UNKNOWN } from './flag-state.ts'
import type { FlagState } from './flag-state.ts'
import type { Structure } from './graph.ts'
import { BlockState, JitEmit } from './jit-emit.ts'
import { isIndirectJump } from './jump-targets.ts'

const PAGE = 4096

export interface RecordedBlock {
  readonly block: Block
  readonly statements: readonly Statement[]
  readonly state: BlockState
}

/**
 * Where the indirect jumps of a region meet: behind its blocks, without instructions of its own. One place for all of them
 * keeps the graph reducible where they lead to each other, as in threaded interpreters.
 */
const JUNCTION: Block = { context: 0, rip: 0, records: [], end: 'next', targets: [], callee: 0 }

/** The statements of every block. Flags at a block's start are known where it has one predecessor, recorded before it. */
export function record(
  region: Region,
  shape: Structure,
  successors: readonly (readonly number[])[],
): RecordedBlock[] {
  const recorded: RecordedBlock[] = []
  const first = region.blocks[0]?.records[0]
  if (!first) throw new Error('a region without instructions')
  const emit = new JitEmit(first, new BlockState(region.mode, UNKNOWN, false))
  const from = predecessorsOf(successors)
  for (const index of shape.order) {
    const predecessors = from[index] ?? []
    const before = predecessors.length === 1 ? recorded[predecessors[0] ?? 0]?.state.flags : undefined
    const flags = index === 0 ? (predecessors.length === 0 ? IN_STRUCT : UNKNOWN) : flagsAfter(before)
    recorded[index] = recordBlock(emit, region, region.blocks[index] ?? JUNCTION, flags)
  }
  return recorded
}

const flagsAfter = (flags: FlagState | undefined): FlagState => (flags?.at === 'locals' ? flags : UNKNOWN)

function recordBlock(emit: JitEmit, region: Region, block: Block, flags: FlagState): RecordedBlock {
  const state = new BlockState(region.mode, flags, block.callee > 0)
  const statements: Statement[] = []
  emit.block(state, statements)
  const last = block.records.length - 1
  for (const [index, code] of block.records.entries()) {
    const { handler } = code
    emit.instruction(code, index)
    if (code.crosses) emit.crossing(code.page + PAGE)
    try {
      handler.semantics(emit)
    } catch (cause) {
      throw new Error(`semantics of ${handler.row.id}, width ${handler.width}, form ${handler.form}`, {
        cause,
      })
    }
    emit.finish(index === last ? block.end : 'more')
    if (state.ended) break
  }
  return { block, statements, state }
}

/** Successors of each block; where indirect jumps are known to lead, of the junction, too. */
export function successorsOf(region: Region, byKey: ReadonlyMap<number, number>): number[][] {
  const { blocks, jumped } = region
  const all = blocks.map((block) => {
    const last = block.records.at(-1)
    if (jumped.length > 0 && last && block.context === 0 && isIndirectJump(last)) return [blocks.length]
    const list: number[] = []
    const add = (key: number): void => {
      const to = byKey.get(key)
      if (to !== undefined && !list.includes(to)) list.push(to)
    }
    const transfer = transferOf(region, block)
    if (transfer) transfer.forEach(add)
    else for (const rip of block.targets) add(keyOf(block.context, rip))
    return list
  })
  if (jumped.length > 0) all.push(jumped.flatMap((rip) => byKey.get(keyOf(0, rip)) ?? []))
  return all
}

/** The blocks that lead to each block. */
export function predecessorsOf(successors: readonly (readonly number[])[]): number[][] {
  const predecessors: number[][] = successors.map(() => [])
  successors.forEach((list, from) => {
    for (const to of list) predecessors[to]?.push(from)
  })
  return predecessors
}

/** Where a call of code of the region, or a return from it, leads. */
export function transferOf({ contexts }: Region, { context, callee, records }: Block): number[] | undefined {
  if (callee > 0) return [keyOf(callee, contexts[callee]?.entry ?? 0)]
  if (context === 0 || records.at(-1)?.handler.row.mnemonic !== 'ret') return undefined
  const { parent, returns } = contexts[context] ?? { parent: 0, returns: 0 }
  return [keyOf(parent, returns)]
}
