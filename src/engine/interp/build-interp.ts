/**
 * Puts the interpreter module together from rows and their semantic functions.
 *
 * Exports: run(cpu: i32): i32, an EXITREASON_*; dispatch and cc_commit for compiled code (dispatch.ts).
 * Imports: env.memory (shared), env.regions (the table of compiled code) and the kernel's functions, module "kernel".
 */
import { assignHandlers } from '../../isa/handlers.ts'
import type { Handler } from '../../isa/handlers.ts'
import type { Semantics } from '../../isa/emit.ts'
import type { Row } from '../../isa/row.ts'
import { ModuleBuilder } from '../../wasm/module.ts'
import { Generator, LocalPool } from '../emit/generate.ts'
import type { Statement } from '../emit/ir.ts'
import { FunctionBackEnd, InlineBackEnd, STATUS_NEXT } from './back-end.ts'
import { ALL_IMPORTS, InterpEmit } from './interp-emit.ts'
import { REGION_PARAMS, defineCommit, defineDispatch, defineReaders } from './dispatch.ts'
import { defineElsewhere } from './elsewhere.ts'
import { instanceOf } from './record-emit.ts'
import { emitRun } from './run-function.ts'
import type { InlineCase } from './run-function.ts'
import { defineSupport } from './support.ts'
import type { Support } from './support.ts'

/** Bounds that every module of ours declares for the one shared memory, in 64 KiB pages. */
export const MEMORY_MIN_PAGES = 32
export const MEMORY_MAX_PAGES = 65_536

export interface InterpModule {
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly handlers: number
  readonly inlined: number
}

function recordHandler(handler: Handler, semantics: Semantics, recLocal: number): readonly Statement[] {
  const { row, width, form } = handler
  try {
    const emit = new InterpEmit(instanceOf(row, width, form), recLocal, handler.hot)
    semantics(emit)
    return emit.statements()
  } catch (cause) {
    throw new Error(`semantics of ${row.id}, width ${width}, form ${form}`, { cause })
  }
}

/** The flags of compiled code can be asked for by name, like every other support function. */
function withCommit(module: ModuleBuilder, support: Support): Support {
  const commit = defineCommit(module)
  defineReaders(module, commit)
  return { index: (name) => (name === 'cc_commit' ? commit : support.index(name)) }
}

export function buildInterp(
  rows: readonly Row[],
  semantics: Readonly<Record<string, Semantics>>,
  { countersAt }: { readonly countersAt?: number } = {},
): InterpModule {
  const semanticsOf = (row: Row): Semantics => {
    const found = semantics[row.id]
    if (!found) throw new Error(`row ${row.id} has no semantic function`)
    return found
  }
  const { list, hotEnd } = assignHandlers(rows)
  const module = new ModuleBuilder()
  const imports = new Map<string, number>()
  for (const [name, { params, result }] of Object.entries(ALL_IMPORTS)) {
    imports.set(name, module.importFunction('kernel', name, params, result ? [result] : []))
  }
  module.importSharedMemory('env', 'memory', MEMORY_MIN_PAGES, MEMORY_MAX_PAGES)
  const regions = module.importTable('env', 'regions', 0)

  const support = withCommit(module, defineSupport(module, imports))
  const regionType = module.type(REGION_PARAMS, ['i32'])
  defineDispatch(module, regionType, regions)
  defineElsewhere(module, support)
  const handlerType = module.type(['i32', 'i32'], ['i32'])
  const run = module.function(['i32'], ['i32'], 'run')
  module.exportFunction('run', run.index)

  const cold = list.filter((handler) => !handler.hot)
  const functions = cold.map((handler) => {
    const { row, width, form } = handler
    const { code, index } = module.function(['i32', 'i32'], ['i32'], `${row.id}/${width}/${form}`)
    const generator = new Generator(code, new LocalPool(code), new FunctionBackEnd(support))
    generator.run(recordHandler(handler, semanticsOf(row), 1))
    code.i32(STATUS_NEXT)
    return index
  })
  const table = module.table(hotEnd + cold.length)
  module.elements(table, hotEnd, functions)

  const cases = list
    .filter((handler) => handler.hot)
    .map((handler): InlineCase => ({
      id: handler.id,
      emit(code, rec, tails, locals) {
        const generator = new Generator(code, locals, new InlineBackEnd(support, rec, tails))
        generator.run(recordHandler(handler, semanticsOf(handler.row), rec))
      },
    }))
  emitRun(run.code, support, cases, { handlerType, table, regionType, regions, countersAt })
  return { bytes: module.toBytes(), handlers: list.length, inlined: cases.length }
}
