/** What a browser must offer, and what to tell a user whose browser does not. */

export interface MissingFeature {
  readonly feature: string
  readonly remedy: string
}

// (module (memory 1 1 shared)): rejected where threads are missing.
const THREADS = [0, 97, 115, 109, 1, 0, 0, 0, 5, 4, 1, 3, 1, 1]
// (module (func (result v128) (v128.const ...) drop-free)): i8x16.splat of a constant.
const SIMD = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98,
  11,
]
// (module (func return_call 0)): tail calls, which generated code chains with.
const TAIL_CALLS = [0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 10, 6, 1, 4, 0, 18, 0, 11]
// (module (func memory.fill)): bulk memory.
const BULK = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 5, 3, 1, 0, 1, 10, 13, 1, 11, 0, 65, 0, 65, 0,
  65, 0, 252, 11, 0, 11,
]

const valid = (bytes: readonly number[]): boolean => WebAssembly.validate(Uint8Array.from(bytes))

const UPDATE = 'update the browser: Chromium 112, Firefox 121 or Safari 18.2 and later have it'

/** Everything that is missing here; empty when the machine can run. */
export function missingFeatures(): MissingFeature[] {
  const missing: MissingFeature[] = []
  if (typeof WebAssembly === 'undefined') return [{ feature: 'WebAssembly', remedy: UPDATE }]
  if (!globalThis.isSecureContext) {
    missing.push({ feature: 'a secure context', remedy: 'open the page over https:// or from localhost' })
  }
  if (typeof SharedArrayBuffer === 'undefined' || !globalThis.crossOriginIsolated) {
    missing.push({
      feature: 'SharedArrayBuffer (cross-origin isolation)',
      remedy:
        'the page must be served with "Cross-Origin-Opener-Policy: same-origin" and "Cross-Origin-Embedder-Policy: require-corp"; ' +
        'on a static host that cannot set headers, reload once so that the service worker adds them (private windows may forbid it)',
    })
  }
  if (!valid(THREADS)) missing.push({ feature: 'WebAssembly threads', remedy: UPDATE })
  if (!valid(SIMD)) missing.push({ feature: 'WebAssembly SIMD', remedy: UPDATE })
  if (!valid(BULK)) missing.push({ feature: 'WebAssembly bulk memory', remedy: UPDATE })
  if (!valid(TAIL_CALLS)) missing.push({ feature: 'WebAssembly tail calls', remedy: UPDATE })
  return missing
}
