/**
 * Assertions for our own bugs. A failed one stops the VM visibly; guest-caused and host-caused errors never
 * come through here (they are values and named Error subclasses).
 */

/** An invariant of this program does not hold. */
export class BugError extends Error {
  override readonly name = 'BugError'
}

export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new BugError(message)
}

/** The value, which the caller knows to be there. */
export function must<T>(value: T | undefined, message: string): T {
  if (value === undefined) throw new BugError(message)
  return value
}
