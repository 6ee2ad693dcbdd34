/**
 * Config schemas of devices: named fields with a type, a default and bounds. A config comes from people (command line,
 * page, script), so errors name the device, the field, the value and what would be right.
 */

export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

export interface ConfigField<T> {
  /** What is allowed, for messages: "an integer from 0 to 255". */
  readonly wants: string
  /** undefined = the field must be given. */
  readonly fallback: T | undefined
  accepts(value: unknown): value is T
}

export type ConfigFields<Config> = { readonly [K in keyof Config]: ConfigField<Config[K]> }

export interface ConfigSchema<Config> {
  readonly fields: ConfigFields<Config>
  /** A complete config, or ConfigError. Unknown fields are errors. */
  parse(owner: string, input: Partial<Config> | undefined): Config
}

export function int(range: { min?: number; max: number; fallback?: number }): ConfigField<number> {
  const min = range.min ?? 0
  return {
    wants: `an integer from ${min} to ${range.max}`,
    fallback: range.fallback,
    accepts: (value): value is number =>
      Number.isInteger(value) && Number(value) >= min && Number(value) <= range.max,
  }
}

export function flag(fallback?: boolean): ConfigField<boolean> {
  return {
    wants: 'true or false',
    fallback,
    accepts: (value): value is boolean => typeof value === 'boolean',
  }
}

export function text(options: { maxLength: number; fallback?: string }): ConfigField<string> {
  return {
    wants: `a text of at most ${options.maxLength} characters`,
    fallback: options.fallback,
    accepts: (value): value is string => typeof value === 'string' && value.length <= options.maxLength,
  }
}

export function texts(options: { maxCount: number; maxLength: number }): ConfigField<readonly string[]> {
  return {
    wants: `at most ${options.maxCount} texts of at most ${options.maxLength} characters`,
    fallback: [],
    accepts: (value): value is readonly string[] =>
      Array.isArray(value) &&
      value.length <= options.maxCount &&
      value.every((item) => typeof item === 'string' && item.length <= options.maxLength),
  }
}

export function configSchema<Config>(fields: ConfigFields<Config>): ConfigSchema<Config> {
  return {
    fields,
    parse(owner, input = {}) {
      for (const key of Object.keys(input)) {
        if (key in fields) continue
        throw new ConfigError(
          `${owner}: there is no option "${key}" (known: ${Object.keys(fields).join(', ') || 'none'})`,
        )
      }
      const config = {} as Config
      for (const key of Object.keys(fields) as (keyof Config & string)[]) {
        const field = fields[key]
        const value = input[key] ?? field.fallback
        if (value === undefined)
          throw new ConfigError(`${owner}: option "${key}" is missing; it wants ${field.wants}`)
        if (!field.accepts(value)) {
          throw new ConfigError(
            `${owner}: option "${key}" wants ${field.wants}, not ${JSON.stringify(value)}`,
          )
        }
        config[key] = value
      }
      return config
    },
  }
}

/** For devices without options. */
export const NO_CONFIG: ConfigSchema<object> = configSchema<object>({})
