/** What a Linux kernel's log tells about the machine under it. */

const TROUBLE = /WARNING:|BUG:|Oops|Call Trace|rcu_sched|soft lockup|unchecked MSR|segfault|TSC.*unstable/

/** The lines that a sound machine does not cause. */
export function kernelTrouble(log: string): string[] {
  if (!/Linux version/.test(log)) return ['(the log does not begin with the kernel version)']
  return log.split('\n').filter((line) => TROUBLE.test(line))
}
