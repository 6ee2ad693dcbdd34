/** What build-wasm.ts makes from the rows; apart from it so that it is loaded only when needed. */
import { assignHandlers } from '../../isa/handlers.ts'
import { ROWS } from '../../isa/rows/index.ts'
import { SEMANTICS } from '../../isa/semantics/index.ts'
import { compileTables } from '../../isa/tables.ts'
import { buildInterp } from '../interp/build-interp.ts'

export const makeInterp = (): Uint8Array => buildInterp(ROWS, SEMANTICS).bytes
export const makeTables = (): Uint8Array => compileTables(ROWS, assignHandlers(ROWS))
