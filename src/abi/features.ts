/**
 * CPUID feature bits that decoding and the kernel test: bit numbers into the 8 words at CPU_FEATURES.
 * Each word is one CPUID register as the model reports it, so that filling it is a copy:
 *
 *   word 0  leaf 1 EDX          word 4  leaf 7.0 EDX
 *   word 1  leaf 1 ECX          word 5  leaf 8000_0001h ECX
 *   word 2  leaf 7.0 EBX        word 6  leaf 8000_0001h EDX
 *   word 3  leaf 7.0 ECX        word 7  leaf 0Dh.1 EAX
 */
export const FEATURE_WORDS = 8

// word 0: leaf 1 EDX
export const FEATURE_FPU = 0
export const FEATURE_PSE = 3
export const FEATURE_TSC = 4
export const FEATURE_MSR = 5
export const FEATURE_PAE = 6
export const FEATURE_CX8 = 8
export const FEATURE_SEP = 11
export const FEATURE_PGE = 13
export const FEATURE_CMOV = 15
export const FEATURE_CLFSH = 19
export const FEATURE_MMX = 23
export const FEATURE_FXSR = 24
export const FEATURE_SSE = 25
export const FEATURE_SSE2 = 26

// word 1: leaf 1 ECX
export const FEATURE_SSE3 = 32
export const FEATURE_PCLMULQDQ = 33
export const FEATURE_MONITOR = 35
export const FEATURE_VMX = 37
export const FEATURE_SSSE3 = 41
export const FEATURE_FMA = 44
export const FEATURE_CX16 = 45
export const FEATURE_PCID = 49
export const FEATURE_SSE4_1 = 51
export const FEATURE_SSE4_2 = 52
export const FEATURE_X2APIC = 53
export const FEATURE_MOVBE = 54
export const FEATURE_POPCNT = 55
export const FEATURE_TSC_DEADLINE = 56
export const FEATURE_AES = 57
export const FEATURE_XSAVE = 58
export const FEATURE_AVX = 60
export const FEATURE_F16C = 61
export const FEATURE_RDRAND = 62
export const FEATURE_HYPERVISOR = 63

// word 2: leaf 7.0 EBX
export const FEATURE_FSGSBASE = 64
export const FEATURE_BMI1 = 67
export const FEATURE_AVX2 = 69
export const FEATURE_SMEP = 71
export const FEATURE_BMI2 = 72
export const FEATURE_ERMS = 73
export const FEATURE_INVPCID = 74
export const FEATURE_RDSEED = 82
export const FEATURE_ADX = 83
export const FEATURE_SMAP = 84
export const FEATURE_CLFLUSHOPT = 87
export const FEATURE_CLWB = 88
export const FEATURE_SHA = 93

// word 3: leaf 7.0 ECX
export const FEATURE_UMIP = 98
export const FEATURE_PKU = 99
export const FEATURE_LA57 = 112
export const FEATURE_RDPID = 118

// word 4: leaf 7.0 EDX
export const FEATURE_FSRM = 132

// word 5: leaf 8000_0001h ECX
export const FEATURE_LAHF64 = 160
export const FEATURE_SVM = 162
export const FEATURE_ABM = 165
export const FEATURE_SSE4A = 166
export const FEATURE_PREFETCHW = 168

// word 6: leaf 8000_0001h EDX
export const FEATURE_SYSCALL = 203
export const FEATURE_NX = 212
export const FEATURE_PAGE1GB = 218
export const FEATURE_RDTSCP = 219
export const FEATURE_LM = 221

// word 7: leaf 0Dh.1 EAX
export const FEATURE_XSAVEOPT = 224
export const FEATURE_XSAVEC = 225
export const FEATURE_XGETBV1 = 226
export const FEATURE_XSAVES = 227
