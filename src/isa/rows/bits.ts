/** Bit and byte instructions, BMI1/2, POPCNT, CRC32 and flag control (SDM Vol. 1, 5.1.6, 5.1.11 to 5.1.15). */
import { CONDITIONS, NO_FLAGS, defineRows, row, type ConditionName, type FlagsText, type RowSpec } from '../row.ts'

function setcc(): Record<`set${ConditionName}_rm8`, RowSpec> {
  const rows: Record<string, RowSpec> = {}
  for (const [code, [cc, reads]] of CONDITIONS.entries()) {
    const flags: FlagsText = `r=${reads} w=- u=- 0=- 1=-`
    rows[`set${cc}_rm8`] = row(`set${cc}`, `0F ${(0x90 + code).toString(16)} /r`, ['w:rm8'], flags, { cite: 'SDM Vol. 2, SETcc' })
  }
  return rows
}

const BT = 'r=- w=c u=osap 0=- 1=-' satisfies FlagsText
const SCAN = 'r=- w=z u=osapc 0=- 1=-' satisfies FlagsText
const COUNT = 'r=- w=zc u=osap 0=- 1=-' satisfies FlagsText
const BMI = 'r=- w=szc u=ap 0=o 1=-' satisfies FlagsText
const lock = true
const bmi1 = 'bmi1'
const bmi2 = 'bmi2'

// prettier-ignore
export const bitsRows = defineRows({
  ...setcc(),
  bt_rmv_rv:      row('bt', '0F A3 /r', ['r:rmv', 'r:rv'], BT),
  bts_rmv_rv:     row('bts', '0F AB /r', ['rw:rmv', 'r:rv'], BT, { lock }),
  btr_rmv_rv:     row('btr', '0F B3 /r', ['rw:rmv', 'r:rv'], BT, { lock }),
  btc_rmv_rv:     row('btc', '0F BB /r', ['rw:rmv', 'r:rv'], BT, { lock }),
  bt_rmv_imm8:    row('bt', '0F BA /4 ib', ['r:rmv', 'r:imm8'], BT),
  bts_rmv_imm8:   row('bts', '0F BA /5 ib', ['rw:rmv', 'r:imm8'], BT, { lock }),
  btr_rmv_imm8:   row('btr', '0F BA /6 ib', ['rw:rmv', 'r:imm8'], BT, { lock }),
  btc_rmv_imm8:   row('btc', '0F BA /7 ib', ['rw:rmv', 'r:imm8'], BT, { lock }),
  bsf_rv_rmv:     row('bsf', '0F BC /r', ['rw:rv', 'r:rmv'], SCAN),
  bsr_rv_rmv:     row('bsr', '0F BD /r', ['rw:rv', 'r:rmv'], SCAN),
  tzcnt_rv_rmv:   row('tzcnt', 'F3 0F BC /r', ['w:rv', 'r:rmv'], COUNT, { feature: bmi1 }),
  lzcnt_rv_rmv:   row('lzcnt', 'F3 0F BD /r', ['w:rv', 'r:rmv'], COUNT, { feature: 'abm' }),
  popcnt_rv_rmv:  row('popcnt', 'F3 0F B8 /r', ['w:rv', 'r:rmv'], 'r=- w=z u=- 0=oscap 1=-', { feature: 'popcnt' }),
  crc32_ry_rm8:   row('crc32', 'F2 0F 38 F0 /r', ['rw:ry', 'r:rm8'], NO_FLAGS, { feature: 'sse4_2' }),
  crc32_ry_rmv:   row('crc32', 'F2 0F 38 F1 /r', ['rw:ry', 'r:rmv'], NO_FLAGS, { feature: 'sse4_2' }),

  andn_ry_vy_rmy: row('andn', 'VEX.LZ.NP.0F38 F2 /r', ['w:ry', 'r:vy', 'r:rmy'], BMI.replace('szc', 'sz').replace('0=o', '0=oc') as FlagsText, { feature: bmi1 }),
  bextr_ry_rmy_vy: row('bextr', 'VEX.LZ.NP.0F38 F7 /r', ['w:ry', 'r:rmy', 'r:vy'], 'r=- w=z u=sap 0=oc 1=-', { feature: bmi1 }),
  blsi_vy_rmy:    row('blsi', 'VEX.LZ.NP.0F38 F3 /3', ['w:vy', 'r:rmy'], BMI, { feature: bmi1 }),
  blsmsk_vy_rmy:  row('blsmsk', 'VEX.LZ.NP.0F38 F3 /2', ['w:vy', 'r:rmy'], 'r=- w=sc u=ap 0=zo 1=-', { feature: bmi1 }),
  blsr_vy_rmy:    row('blsr', 'VEX.LZ.NP.0F38 F3 /1', ['w:vy', 'r:rmy'], BMI, { feature: bmi1 }),
  bzhi_ry_rmy_vy: row('bzhi', 'VEX.LZ.NP.0F38 F5 /r', ['w:ry', 'r:rmy', 'r:vy'], BMI, { feature: bmi2 }),
  mulx_ry_vy_rmy: row('mulx', 'VEX.LZ.F2.0F38 F6 /r', ['w:ry', 'w:vy', 'r:rmy'], NO_FLAGS, { feature: bmi2 }),
  pdep_ry_vy_rmy: row('pdep', 'VEX.LZ.F2.0F38 F5 /r', ['w:ry', 'r:vy', 'r:rmy'], NO_FLAGS, { feature: bmi2 }),
  pext_ry_vy_rmy: row('pext', 'VEX.LZ.F3.0F38 F5 /r', ['w:ry', 'r:vy', 'r:rmy'], NO_FLAGS, { feature: bmi2 }),

  cmc:            row('cmc', 'F5', [], 'r=c w=c u=- 0=- 1=-'),
  clc:            row('clc', 'F8', [], 'r=- w=- u=- 0=c 1=-'),
  stc:            row('stc', 'F9', [], 'r=- w=- u=- 0=- 1=c'),
  cld:            row('cld', 'FC', [], 'r=- w=- u=- 0=d 1=-'),
  std:            row('std', 'FD', [], 'r=- w=- u=- 0=- 1=d'),
  sahf:           row('sahf', '9E', [], 'r=- w=szapc u=- 0=- 1=-', { modes: 'legacy' }),
  sahf_64:        row('sahf', '9E', [], 'r=- w=szapc u=- 0=- 1=-', { modes: 'long', feature: 'lahf64' }),
  lahf:           row('lahf', '9F', [], 'r=szapc w=- u=- 0=- 1=-', { modes: 'legacy' }),
  lahf_64:        row('lahf', '9F', [], 'r=szapc w=- u=- 0=- 1=-', { modes: 'long', feature: 'lahf64' }),
  salc:           row('salc', 'D6', [], 'r=c w=- u=- 0=- 1=-', { modes: 'legacy', widths: [8], cite: 'AMD APM Vol. 3, Appendix A (undocumented SALC)' }),
})
