/**
 * The MC146818A's time registers: calendar to bytes and back, in binary or BCD, 12- or 24-hour form.
 * Registers: 0 second, 2 minute, 4 hour, 6 weekday (1 = Sunday), 7 day, 8 month, 9 year, 0x32 century.
 */

export const RTC_B_24H = 2
export const RTC_B_BINARY = 4
const REG_B = 0x0b
const CENTURY = 0x32
const PM = 0x80
/** An alarm byte with both top bits set matches anything (data sheet, "Time, calendar and alarm locations"). */
const DONT_CARE = 0xc0

function toRegister(value: number, mode: number): number {
  return (mode & RTC_B_BINARY) !== 0 ? value : Math.floor(value / 10) * 16 + (value % 10)
}

function fromRegister(value: number, mode: number): number {
  return (mode & RTC_B_BINARY) !== 0 ? value : (value >> 4) * 10 + (value & 0xf)
}

function hourToRegister(hour: number, mode: number): number {
  if ((mode & RTC_B_24H) !== 0) return toRegister(hour, mode)
  return toRegister(hour % 12 === 0 ? 12 : hour % 12, mode) | (hour >= 12 ? PM : 0)
}

function hourFromRegister(value: number, mode: number): number {
  if ((mode & RTC_B_24H) !== 0) return fromRegister(value, mode)
  return (fromRegister(value & ~PM, mode) % 12) + ((value & PM) !== 0 ? 12 : 0)
}

/** Writes the calendar of an instant (ms since the epoch, UTC) into the registers; mode is register B. */
export function toRegisters(ms: number, mode: number, memory: Uint8Array): void {
  const date = new Date(ms)
  const year = date.getUTCFullYear()
  memory[0] = toRegister(date.getUTCSeconds(), mode)
  memory[2] = toRegister(date.getUTCMinutes(), mode)
  memory[4] = hourToRegister(date.getUTCHours(), mode)
  memory[6] = toRegister(date.getUTCDay() + 1, mode)
  memory[7] = toRegister(date.getUTCDate(), mode)
  memory[8] = toRegister(date.getUTCMonth() + 1, mode)
  memory[9] = toRegister(year % 100, mode)
  memory[CENTURY] = toRegister(Math.floor(year / 100) % 100, mode)
}

/** The instant that the registers show, in ms. Nonsense dates roll over as Date.UTC lets them. */
export function calendarMs(memory: Uint8Array): number {
  const at = (index: number): number => memory[index] as number
  const mode = at(REG_B)
  const century = fromRegister(at(CENTURY), mode) || 20
  const year = century * 100 + fromRegister(at(9), mode)
  const month = fromRegister(at(8), mode) - 1
  const day = fromRegister(at(7), mode)
  return Date.UTC(
    year,
    month,
    day,
    hourFromRegister(at(4), mode),
    fromRegister(at(2), mode),
    fromRegister(at(0), mode),
  )
}

/** Whether the alarm registers (1, 3, 5) match a second since the epoch. */
export function isAlarm(second: number, memory: Uint8Array, mode: number): boolean {
  const matches = (register: number, value: number): boolean => register >= DONT_CARE || register === value
  return (
    matches(memory[1] as number, toRegister(second % 60, mode)) &&
    matches(memory[3] as number, toRegister(Math.floor(second / 60) % 60, mode)) &&
    matches(memory[5] as number, hourToRegister(Math.floor(second / 3600) % 24, mode))
  )
}
