/**
 * Handlers that are inlined into the interpreter's run(), by row id: operand size and forms, "64RM 32R" = 64-bit register
 * and memory forms, 32-bit register form.
 *
 * From profiles of Debian's 64- and 32-bit kernels booting, and of busybox, python3 and gcc at work: everything above
 * 0.03% of the instructions in one of them, and its siblings. The limit that matters is TurboFan's: about 300 cases compile
 * in under 60 ms, thousands take seconds and run slower. A row that is not listed costs a call through the table. Of
 * floating point there is what compilers put into loops: the rest of such a loop is soon compiled anyway.
 */
// prettier-ignore
export const HOT: Readonly<Record<string, string>> = {
  adc_rmv_rv: '32R 64R', adc_rmv_simm8: '64R', add_rAXv_immz: '16R 32R 64R', add_rmv_immz: '16R 32R 64R',
  add_rmv_rv: '32RM 64RM', add_rmv_simm8: '32RM 64RM', add_rv_rmv: '32MX 64MX', addpd_xmm_xmm_m128: '0R',
  addps_xmm_xmm_m128: '0R', addsd_xmm_xmm_m64: '0RX', addss_xmm_xmm_m32: '0R', and_rAXv_immz: '32R',
  and_rm8_r8: '8R', and_rmv_immz: '32R 64R', and_rmv_rv: '32R 64R', and_rmv_simm8: '32RM 64R',
  and_rv_rmv: '32MX 64MX', andpd_xmm_xmm_m128: '0R', bswap_oy: '32R 64R', bt_rmv_rv: '64R',
  call_relz: '32R 64R', call_rmv: '32R 64RX', cbw: '64R', cmova_rv_rmv: '32R 64R', cmovae_rv_rmv: '32R 64R',
  cmovb_rv_rmv: '32R 64R', cmove_rv_rmv: '32R 64R', cmovg_rv_rmv: '32R', cmovl_rv_rmv: '32R',
  cmovne_rv_rmv: '32R 64R', cmovns_rv_rmv: '32R', cmovs_rv_rmv: '32R 64R', cmp_al_imm8: '8R',
  cmp_r8_rm8: '8X', cmp_rAXv_immz: '32R 64R', cmp_rm8_imm8: '8RMX', cmp_rm8_r8: '8RMX',
  cmp_rmv_immz: '16R 32RM 64RX', cmp_rmv_rv: '16RX 32RM 64RM', cmp_rmv_simm8: '32RMX 64RMX',
  cmp_rv_rmv: '32MX 64MX', comisd_xmm_xmm_m64: '0R', cvtsi2sd_xmm_rm32: '32R', cvtsi2sd_xmm_rm64: '64R',
  cvtss2sd_xmm_xmm_m32: '0R', cvttsd2si_r32_xmm_m64: '32R', cwd: '32R 64R', dec_ov: '32R',
  dec_rmv: '32RMX 64R', divsd_xmm_xmm_m64: '0R', endbr64: '0R', imul_rv_rmv: '32R 64R',
  imul_rv_rmv_immz: '32R 64R', imul_rv_rmv_simm8: '64R', inc_ov: '32R', inc_rmv: '16X 32RMX 64R',
  ja_rel8: '32R 64R', ja_relz: '32R 64R', jae_rel8: '32R 64R', jae_relz: '32R 64R', jb_rel8: '32R 64R',
  jb_relz: '32R 64R', jbe_rel8: '32R 64R', jbe_relz: '32R 64R', je_rel8: '32R 64R', je_relz: '32R 64R',
  jg_rel8: '32R 64R', jg_relz: '32R 64R', jge_rel8: '32R 64R', jge_relz: '64R', jl_rel8: '32R 64R',
  jl_relz: '64R', jle_rel8: '32R 64R', jle_relz: '64R', jmp_rel8: '32R 64R', jmp_relz: '32R 64R',
  jmp_rmv: '32R 64RX', jne_rel8: '32R 64R', jne_relz: '32R 64R', jns_rel8: '32R 64R', jns_relz: '64R',
  jp_rel8: '64R', js_rel8: '32R 64R', js_relz: '64R', lea_rv_m: '32MX 64MX', leave: '64R', mov_r8_imm8: '8R',
  mov_r8_rm8: '8MX', mov_rAXv_moffs: '32X', mov_rm8_imm8: '8MX', mov_rm8_r8: '8MX',
  mov_rmv_immz: '32RMX 64RMX', mov_rmv_rv: '16MX 32RMX 64RMX', mov_rv_immv: '32R 64R',
  mov_rv_rmv: '16MX 32MX 64MX', movapd_xmm_xmm_m128: '0R', movaps_xmm_m128_xmm: '0X',
  movaps_xmm_xmm_m128: '0RX', movd_xmm_rm32: '32X', movdqa_xmm_m128_xmm: '0X', movdqa_xmm_xmm_m128: '0RX',
  movdqu_xmm_m128_xmm: '0X', movdqu_xmm_xmm_m128: '0X', movsd_xmm_m64: '64X', movsd_xmm_m64_xmm: '0X',
  movsx_rv_rm16: '32MX', movsx_rv_rm8: '32RMX 64RX', movsxd_ry_rm32: '64RMX', movups_xmm_m128_xmm: '0X',
  movups_xmm_xmm_m128: '0X', movzx_rv_rm16: '32RMX', movzx_rv_rm8: '32RMX', mulpd_xmm_xmm_m128: '0R',
  mulps_xmm_xmm_m128: '0R', mulsd_xmm_xmm_m64: '0RX', mulss_xmm_xmm_m32: '0R', neg_rmv: '32R 64R', nop: '0R',
  nop_rmv: '32MX', not_rmv: '32R 64R', or_r8_rm8: '8X', or_rm8_r8: '8X', or_rmv_rv: '32RM 64RM',
  or_rmv_simm8: '32R 64R', or_rv_rmv: '32M 64M', paddd_xmm_xmm_m128: '0R', palignr_xmm_xmm_m128_imm8: '0R',
  pcmpeqb_xmm_xmm_m128: '0RX', pmovmskb_r32_xmm: '32R', pop_ov: '32R 64R', pshufb_xmm_xmm_m128: '0R',
  pshufd_xmm_xmm_m128_imm8: '0R', pslld_xmm_imm8: '0R', pslldq_xmm_imm8: '0R', psrld_xmm_imm8: '0R',
  psrldq_xmm_imm8: '0R', psrlq_xmm_imm8: '0R', push_ov: '32R 64R', push_rmv: '32X 64X', push_simm8: '64R',
  pxor_xmm_xmm_m128: '0R', ret: '32R 64R', rol_rmv_imm8: '32R 64R', ror_rmv_imm8: '32R',
  sar_rmv_1: '32R 64R', sar_rmv_cl: '32R', sar_rmv_imm8: '32R 64R', sbb_rm8_r8: '8R', sbb_rmv_rv: '32R 64R',
  seta_rm8: '8R', setb_rm8: '8R', sete_rm8: '8R', setg_rm8: '8R', setl_rm8: '8R', setne_rm8: '8R',
  shl_rm8_1: '8X', shl_rmv_cl: '32R 64R', shl_rmv_imm8: '32R 64R', shr_rm8_1: '8RX', shr_rmv_1: '32R 64R',
  shr_rmv_cl: '32R 64R', shr_rmv_imm8: '32R 64RX', sub_rAXv_immz: '32R', sub_rmv_immz: '64R',
  sub_rmv_rv: '32RM 64RM', sub_rmv_simm8: '32RM 64RM', sub_rv_rmv: '32MX 64MX', subsd_xmm_xmm_m64: '0RX',
  test_al_imm8: '8R', test_rAXv_immz: '32R', test_rm8_imm8: '8RMX', test_rm8_r8: '8R',
  test_rmv_immz: '32RM 64R', test_rmv_rv: '32R 64R', ucomisd_xmm_xmm_m64: '0RX', unpcklpd_xmm_xmm_m128: '0R',
  xor_rmv_rv: '32R 64R', xor_rmv_simm8: '32R', xor_rv_rmv: '32MX 64M', xorps_xmm_xmm_m128: '0R',
}
