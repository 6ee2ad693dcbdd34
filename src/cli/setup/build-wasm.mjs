// @ts-check
/** `npm run build:wasm`: builds the Wasm parts if a source of theirs changed. */
import { ensureWasm } from './steps.mjs'

ensureWasm()
