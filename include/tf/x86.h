/* Architectural constants of x86, named as the SDM names them. Numbers only: pure code uses them too. */
#pragma once
#include <tf/types.h>

/* SDM 3A, "Control Registers" */
#define CR0_PE BIT(0)
#define CR0_MP BIT(1)
#define CR0_EM BIT(2)
#define CR0_TS BIT(3)
#define CR0_ET BIT(4)
#define CR0_NE BIT(5)
#define CR0_WP BIT(16)
#define CR0_AM BIT(18)
#define CR0_NW BIT(29)
#define CR0_CD BIT(30)
#define CR0_PG BIT(31)

#define CR4_VME        BIT(0)
#define CR4_PVI        BIT(1)
#define CR4_TSD        BIT(2)
#define CR4_DE         BIT(3)
#define CR4_PSE        BIT(4)
#define CR4_PAE        BIT(5)
#define CR4_MCE        BIT(6)
#define CR4_PGE        BIT(7)
#define CR4_PCE        BIT(8)
#define CR4_OSFXSR     BIT(9)
#define CR4_OSXMMEXCPT BIT(10)
#define CR4_UMIP       BIT(11)
#define CR4_LA57       BIT(12)
#define CR4_VMXE       BIT(13)
#define CR4_SMXE       BIT(14)
#define CR4_FSGSBASE   BIT(16)
#define CR4_PCIDE      BIT(17)
#define CR4_OSXSAVE    BIT(18)
#define CR4_KL         BIT(19)
#define CR4_SMEP       BIT(20)
#define CR4_SMAP       BIT(21)
#define CR4_PKE        BIT(22)
#define CR4_CET        BIT(23)
#define CR4_PKS        BIT(24)

/* SDM 3A, "PAE Paging" */
#define CR3_PAE_TABLE  0xffffffe0ull
#define PDPTE_P        BIT(0)
#define PDPTE_RESERVED 0x1e6ull /* and what is above the physical-address width */

#define EFER_SCE BIT(0)
#define EFER_LME BIT(8)
#define EFER_LMA BIT(10)
#define EFER_NXE BIT(11)

#define RFLAGS_CF   BIT(0)
#define RFLAGS_RSV1 BIT(1)
#define RFLAGS_PF   BIT(2)
#define RFLAGS_AF   BIT(4)
#define RFLAGS_ZF   BIT(6)
#define RFLAGS_SF   BIT(7)
#define RFLAGS_TF   BIT(8)
#define RFLAGS_IF   BIT(9)
#define RFLAGS_DF   BIT(10)
#define RFLAGS_OF   BIT(11)
#define RFLAGS_IOPL (3ull << 12)
#define RFLAGS_NT   BIT(14)
#define RFLAGS_RF   BIT(16)
#define RFLAGS_VM   BIT(17)
#define RFLAGS_AC   BIT(18)
#define RFLAGS_ID   BIT(21)

/* SDM 3B, "Debug Registers" and "IA32_DEBUGCTL MSR" */
#define DR6_RESET    0xffff0ff0ull
#define DR7_RESET    0x400ull
#define DR7_ENABLED  0xffull /* L0 to G3 */
#define DEBUGCTL_LBR BIT(0)
#define DEBUGCTL_BTF BIT(1)

enum x86_vector {
	VEC_DE = 0, VEC_DB = 1, VEC_NMI = 2, VEC_BP = 3, VEC_OF = 4, VEC_BR = 5, VEC_UD = 6, VEC_NM = 7,
	VEC_DF = 8, VEC_TS = 10, VEC_NP = 11, VEC_SS = 12, VEC_GP = 13, VEC_PF = 14, VEC_MF = 16,
	VEC_AC = 17, VEC_MC = 18, VEC_XM = 19, VEC_VE = 20, VEC_CP = 21,
};

/* SDM 3A, "Page-Fault Exceptions" */
#define PF_P  BIT(0)
#define PF_W  BIT(1)
#define PF_U  BIT(2)
#define PF_RSVD BIT(3)
#define PF_I  BIT(4)
#define PF_PK BIT(5)

/* SDM 4, "Model-Specific Registers (MSRs)" */
#define MSR_IA32_TSC               0x10
#define MSR_IA32_PLATFORM_ID       0x17
#define MSR_IA32_APIC_BASE         0x1b
#define MSR_IA32_FEATURE_CONTROL   0x3a
#define MSR_IA32_TSC_ADJUST        0x3b
#define MSR_IA32_SPEC_CTRL         0x48
#define MSR_IA32_PRED_CMD          0x49
#define MSR_IA32_BIOS_UPDT_TRIG    0x79
#define MSR_IA32_BIOS_SIGN_ID      0x8b
#define MSR_PLATFORM_INFO          0xce
#define MSR_IA32_MTRRCAP           0xfe
#define MSR_IA32_ARCH_CAPABILITIES 0x10a
#define MSR_IA32_FLUSH_CMD         0x10b
#define MSR_IA32_MCU_OPT_CTRL      0x123
#define MSR_IA32_SYSENTER_CS       0x174
#define MSR_IA32_SYSENTER_ESP      0x175
#define MSR_IA32_SYSENTER_EIP      0x176
#define MSR_IA32_MCG_CAP           0x179
#define MSR_IA32_MCG_STATUS        0x17a
#define MSR_IA32_MISC_ENABLE       0x1a0
#define MSR_IA32_DEBUGCTL          0x1d9
#define MSR_IA32_MTRR_PHYSBASE0    0x200
#define MSR_IA32_MTRR_FIX64K_00000 0x250
#define MSR_IA32_MTRR_FIX16K_80000 0x258
#define MSR_IA32_MTRR_FIX16K_A0000 0x259
#define MSR_IA32_MTRR_FIX4K_C0000  0x268
#define MSR_IA32_PAT               0x277
#define MSR_IA32_MTRR_DEF_TYPE     0x2ff
#define MSR_IA32_VMX_BASIC         0x480
#define MSR_IA32_VMX_PINBASED      0x481
#define MSR_IA32_VMX_PROCBASED     0x482
#define MSR_IA32_VMX_EXIT          0x483
#define MSR_IA32_VMX_ENTRY         0x484
#define MSR_IA32_VMX_MISC          0x485
#define MSR_IA32_VMX_CR0_FIXED0    0x486
#define MSR_IA32_VMX_CR0_FIXED1    0x487
#define MSR_IA32_VMX_CR4_FIXED0    0x488
#define MSR_IA32_VMX_CR4_FIXED1    0x489
#define MSR_IA32_VMX_VMCS_ENUM     0x48a
#define MSR_IA32_VMX_PROCBASED2    0x48b
#define MSR_IA32_VMX_EPT_VPID_CAP  0x48c
#define MSR_IA32_VMX_TRUE_PINBASED 0x48d
#define MSR_IA32_VMX_TRUE_PROCBASED 0x48e
#define MSR_IA32_VMX_TRUE_EXIT     0x48f
#define MSR_IA32_VMX_TRUE_ENTRY    0x490
#define MSR_IA32_VMX_VMFUNC        0x491
#define MSR_IA32_VMX_PROCBASED3    0x492
#define MSR_IA32_VMX_EXIT2         0x493
#define MSR_IA32_TSC_DEADLINE      0x6e0
#define MSR_X2APIC_BASE            0x800
#define MSR_X2APIC_EOI             0x80b
#define MSR_IA32_XSS               0xda0
#define MSR_IA32_EFER              0xc0000080
#define MSR_IA32_STAR              0xc0000081
#define MSR_IA32_LSTAR             0xc0000082
#define MSR_IA32_CSTAR             0xc0000083
#define MSR_IA32_FMASK             0xc0000084
#define MSR_IA32_FS_BASE           0xc0000100
#define MSR_IA32_GS_BASE           0xc0000101
#define MSR_IA32_KERNEL_GS_BASE    0xc0000102
#define MSR_IA32_TSC_AUX           0xc0000103

/* SDM 4, "Model-Specific Registers (MSRs)": bits of IA32_SPEC_CTRL, IA32_PRED_CMD, IA32_FLUSH_CMD, IA32_MCU_OPT_CTRL */
#define SPEC_CTRL_IBRS             BIT(0)
#define SPEC_CTRL_BHI_DIS_S        BIT(10)
#define PRED_CMD_IBPB              BIT(0)
#define FLUSH_CMD_L1D              BIT(0)
#define MCU_OPT_RNGDS_MITG_DIS     BIT(0)
#define MCU_OPT_GDS_MITG_DIS       BIT(4)
#define MCU_OPT_GDS_MITG_LOCK      BIT(5)

/* IA32_ARCH_CAPABILITIES */
#define ARCH_CAP_RDCL_NO           BIT(0)
#define ARCH_CAP_IBRS_ALL          BIT(1)
#define ARCH_CAP_RSBA              BIT(2)
#define ARCH_CAP_SKIP_L1DFL        BIT(3)
#define ARCH_CAP_SSB_NO            BIT(4)
#define ARCH_CAP_MDS_NO            BIT(5)
#define ARCH_CAP_IF_PSCHANGE_MC_NO BIT(6)
#define ARCH_CAP_TAA_NO            BIT(8)
#define ARCH_CAP_SBDR_SSDP_NO      BIT(13)
#define ARCH_CAP_FBSDP_NO          BIT(14)
#define ARCH_CAP_PSDP_NO           BIT(15)
#define ARCH_CAP_FB_CLEAR          BIT(17)
#define ARCH_CAP_RRSBA             BIT(19)
#define ARCH_CAP_BHI_NO            BIT(20)
#define ARCH_CAP_PBRSB_NO          BIT(24)
#define ARCH_CAP_GDS_CTRL          BIT(25)
#define ARCH_CAP_GDS_NO            BIT(26)
#define ARCH_CAP_RFDS_NO           BIT(27)
#define ARCH_CAP_RFDS_CLEAR        BIT(28)

/* SDM 2A, "CPUID": feature bits that more than one file asks for */
#define CPUID_EXTENDED           0x80000001u /* leaf of the extended features, EXT below */
#define CPUID_1_ECX_X2APIC       BIT(21)
#define CPUID_1_ECX_XSAVE        BIT(26)
#define CPUID_1_ECX_OSXSAVE      BIT(27)
#define CPUID_7_EBX_RTM          BIT(11)
#define CPUID_7_ECX_OSPKE        BIT(4)
#define CPUID_7_EDX_SRBDS_CTRL   BIT(9)  /* IA32_MCU_OPT_CTRL */
#define CPUID_7_EDX_MD_CLEAR     BIT(10) /* VERW clears buffers */
#define CPUID_7_EDX_IBRS_IBPB    BIT(26) /* IA32_SPEC_CTRL, IA32_PRED_CMD */
#define CPUID_7_EDX_STIBP        BIT(27)
#define CPUID_7_EDX_L1D_FLUSH    BIT(28) /* IA32_FLUSH_CMD */
#define CPUID_7_EDX_ARCH_CAP     BIT(29) /* IA32_ARCH_CAPABILITIES */
#define CPUID_7_EDX_SSBD         BIT(31)
#define CPUID_7_2_EDX_BHI_CTRL   BIT(4)
#define CPUID_EXT_EDX_NX         BIT(20)
#define CPUID_EXT_EDX_PAGE1GB    BIT(26)
#define CPUID_EXT_EDX_RDTSCP     BIT(27)

/* IA32_APIC_BASE: SDM 3A, "Local APIC Status and Location" */
#define APIC_BASE_BSP    BIT(8)
#define APIC_BASE_X2APIC BIT(10)
#define APIC_BASE_ENABLE BIT(11)
#define APIC_BASE_ADDR   0xfffffffff000ull
#define APIC_DEFAULT_BASE 0xfee00000ull

/* Memory types, as in MTRRs, PAT and EPT entries. */
#define PAT_RESET 0x0007040600070406ull /* IA32_PAT after reset */
enum x86_memtype { MT_UC = 0, MT_WC = 1, MT_WT = 4, MT_WP = 5, MT_WB = 6, MT_UC_MINUS = 7 };
