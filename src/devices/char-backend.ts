/**
 * The port of devices that exchange bytes with people or programs: UARTs, virtio console ports, debug ports.
 * Flow control in both directions: each side says how much it took, and calls the other when it can take more.
 */

/** What a device needs; host and machine implement it. */
export interface CharBackend {
  /** Takes bytes from the guest (valid only during the call); returns how many it took. If fewer: writable() follows. */
  write(bytes: Uint8Array): number
  /** The device's end. Called once, when the device is built; a later call replaces it. */
  connect(device: CharDevice): void
  /** The device can take input again after its receive() took less than all. */
  receivable(): void
  /** The guest drives the line: a break condition, or modem control outputs (MCR_DTR 1, MCR_RTS 2). */
  sendBreak?(on: boolean): void
  modemControl?(lines: number): void
  /** The guest opened or closed its end (virtio console ports). */
  guestOpen?(open: boolean): void
}

/** The device's end of the wire. */
export interface CharDevice {
  /** Takes bytes for the guest; returns how many. If fewer: backend.receivable() follows. */
  receive(bytes: Uint8Array): number
  /** The backend can take output again. */
  writable(): void
  /** A break condition arrives. */
  receiveBreak?(): void
  /** Size of the terminal in characters. */
  resize?(columns: number, rows: number): void
  /** The far end appeared or went away. */
  connected?(yes: boolean): void
}
