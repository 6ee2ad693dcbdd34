/**
 * Cross-origin isolation on static hosts that cannot set headers: a service worker adds them to every response.
 * With a server that sends the headers nothing happens here.
 */

const RELOADED = 'webkvm-isolation-reloaded'

/** Registers the worker if the page is not isolated; true when the page is about to reload under it. */
export async function registerIsolationWorker(): Promise<boolean> {
  if (globalThis.crossOriginIsolated || !globalThis.isSecureContext || !('serviceWorker' in navigator))
    return false
  // One reload only: where the worker cannot help, a loop would hide the error message.
  if (sessionStorage.getItem(RELOADED) !== null) return false
  try {
    await navigator.serviceWorker.register(new URL('isolation-worker.js', document.baseURI))
    await navigator.serviceWorker.ready
  } catch {
    return false
  }
  sessionStorage.setItem(RELOADED, '1')
  location.reload()
  return true
}
