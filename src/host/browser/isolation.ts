/**
 * Cross-origin isolation on static hosts that cannot set headers: a service worker adds them to every response.
 * With a server that sends the headers nothing happens here.
 */

const REGISTER_TIMEOUT_MS = 4000
const RELOADED = 'webkvm-isolation-reloaded'

/** Registers the worker if the page is not isolated; true when the page is about to reload under it. */
export async function registerIsolationWorker(): Promise<boolean> {
  if (globalThis.crossOriginIsolated || !globalThis.isSecureContext || !('serviceWorker' in navigator))
    return false
  // One reload only: where the worker cannot help, a loop would hide the error message.
  if (sessionStorage.getItem(RELOADED) !== null) return false
  const registered = navigator.serviceWorker
    .register(new URL('isolation-worker.js', document.baseURI))
    .then(() => navigator.serviceWorker.ready)
    .then(
      () => true,
      () => false,
    )
  // Where workers are blocked the promise may never settle.
  const tooLate = new Promise<false>((resolve) => setTimeout(() => resolve(false), REGISTER_TIMEOUT_MS))
  if (!(await Promise.race([registered, tooLate]))) return false
  sessionStorage.setItem(RELOADED, '1')
  location.reload()
  return true
}
